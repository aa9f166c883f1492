"""`insight models`."""

import argparse
from pathlib import Path

from insight.errors import InputError, InsightError
from insight.inference.score_threshold import check_score_threshold
from insight.runtime.inputs import check_input

from .options import add_command, add_overrides


def add_parser(commands) -> None:
    """Add the group."""
    parser = add_command(
        commands,
        "models",
        run_list,
        "List the models that can be used by name, or show, fetch, export and convert one",
        ("models", "models show sopseg-vit-t", "models export output/light mine --name mine"),
        "A model is a folder with config.json, model.safetensors and README.md, its card.",
    )
    tasks = parser.add_subparsers(metavar="[TASK]", title="tasks")
    show = add_command(
        tasks, "show", run_show, "Print the card of a model", ("models show sopseg-vit-t", "models show output/mine")
    )
    show.add_argument("model", metavar="NAME", help="name or folder of the model, or owner/name")
    fetch = add_command(
        tasks,
        "fetch",
        run_fetch,
        "Copy a model into the cache, where its name finds it",
        ("models fetch owner/name", "models fetch output/mine --name harbour"),
        "Models of the Hugging Face hub need the package huggingface_hub.",
    )
    fetch.add_argument("model", metavar="NAME", help="owner/name on the Hugging Face hub, or a folder")
    fetch.add_argument("--name", default="", help="name in the cache (default: the model's)")
    _add_export(tasks)
    onnx = add_command(
        tasks,
        "onnx",
        run_onnx,
        "Write a SOPSeg model as ONNX files, for devices without PyTorch",
        ("models onnx sopseg-vit-t edge", "models onnx output/mine edge --input-size 128"),
        "encoder.onnx and decoder.onnx are compared with PyTorch before they are written, which takes a minute or two.",
    )
    onnx.add_argument("model", metavar="NAME", help="name or folder of the model, or owner/name")
    onnx.add_argument("folder", metavar="FOLDER", help="folder to write")
    onnx.add_argument(
        "--input-size", type=int, metavar="S", help="side of the crops, pixels (default: the one of the training)"
    )


def _add_export(tasks) -> None:
    export = add_command(
        tasks,
        "export",
        run_export,
        "Make a model folder from a training run",
        (
            "models export output/light models/mine",
            "models export output/light models/mine --license apache-2.0 --gsd 0.2 1.5 "
            "--training start='ImageNet' --metrics output/jitter.json",
        ),
        "The card is filled from the run: data, steps, seed, commit, command, metrics.",
    )
    export.add_argument("run_folder", metavar="RUN", help="OUTPUT_DIR of the training run")
    export.add_argument("folder", metavar="FOLDER", help="model folder to write")
    export.add_argument("--name", default="", help="name of the model (default: the folder's)")
    export.add_argument(
        "--weights", default="", metavar="FILE", help="checkpoint (default: model_final.pth, else the last one)"
    )
    export.add_argument(
        "--license", default="unknown", metavar="ID", help="SPDX identifier in lower case (default: %(default)s)"
    )
    export.add_argument(
        "--gsd",
        nargs=2,
        type=float,
        metavar=("LEAST", "MOST"),
        help="ground sample distance of the training images, metres per pixel",
    )
    export.add_argument(
        "--score-threshold",
        type=float,
        default=0.5,
        metavar="S",
        help="of a detector: lowest score of an instance in prediction, 0 to 1 (default: %(default)s)",
    )
    export.add_argument(
        "--metrics",
        action="append",
        default=[],
        metavar="FILE",
        help="results to record, of `evaluate` or `measure`; repeatable (default: results.json of the run)",
    )
    export.add_argument(
        "--training",
        dest="notes",
        action="append",
        default=[],
        metavar="KEY=TEXT",
        help="what the card says of the training: start, data, commit, command ...; repeatable",
    )
    export.add_argument("--float32", action="store_true", help="store the weights in float32, twice as large")
    add_overrides(export)


def run_list(args: argparse.Namespace) -> int:
    """Run `insight models`."""
    from insight.hub import known_models, read_model

    rows, failures = [("name", "kind", "MB", "license", "where", "metrics")], 0
    for known in known_models():
        try:
            model = read_model(known.path)
            size, metrics = f"{model.size / 1e6:.1f}", "; ".join(_headlines(model.metrics))
            rows.append((known.name, model.kind, size, model.license, known.where, metrics))
        except (InsightError, OSError) as error:
            failures += 1
            rows.append((known.name, "unusable", "", "", known.where, str(error)))
    if len(rows) == 1:
        print("no models: none is shipped with this installation, and the cache has none")
        return 0
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
    return 1 if failures else 0


def _headlines(metrics) -> list[str]:
    """The first metric of each task of each dataset."""
    found = []
    for dataset, tasks in metrics.items():
        for task, values in tasks.items():
            name, value = next(((n, v) for n, v in values.items() if v is not None), (None, None))
            if name is not None:
                found.append(f"{dataset} {task} {name} {value:.1f}")
    return found


def run_show(args: argparse.Namespace) -> None:
    """Run `insight models show`."""
    from insight.hub import find
    from insight.hub.model_folder import CARD

    model = find(args.model)
    print(f"{model.name}: {model.kind}, {model.size / 1e6:.1f} MB, {model.license}, in {model.path}\n")
    card = model.path / CARD
    if card.is_file():
        text = card.read_text(encoding="utf-8")
        front, _, body = text.removeprefix("---\n").partition("\n---\n")
        print((body if text.startswith("---\n") and body else text).strip())


def run_fetch(args: argparse.Namespace) -> None:
    """Run `insight models fetch`."""
    from insight.hub.fetching import fetch

    model = fetch(args.model, args.name or None)
    print(f"wrote {model.path}; use it as --model {model.path.name}")


def run_export(args: argparse.Namespace) -> None:
    """Run `insight models export`."""
    check_score_threshold(args.score_threshold)
    check_input(args.run_folder, kind="folder")
    pairs = [note.partition("=") for note in args.notes]
    if bad := next((note for note, pair in zip(args.notes, pairs) if not pair[1]), None):
        raise InputError(f"notes: expected KEY=TEXT, got {bad!r:.80}")
    if args.gsd and not 0 < args.gsd[0] <= args.gsd[1]:
        raise InputError(f"gsd: expected two positive numbers, the smaller one first, got {args.gsd}")

    from insight.hub.export import export_run

    model = export_run(
        args.run_folder,
        args.folder,
        name=args.name or None,
        weights=args.weights or None,
        license=args.license,
        gsd=tuple(args.gsd) if args.gsd else None,
        score_threshold=args.score_threshold,
        metrics=args.metrics,
        half=not args.float32,
        notes={key: text for key, _, text in pairs},
        overrides=args.opts,
    )
    print(f"wrote {model.path}: {model.kind}, {model.size / 1e6:.1f} MB; use it as --model {Path(args.folder)}")


def run_onnx(args: argparse.Namespace) -> None:
    """Run `insight models onnx`."""
    from insight.hub import find

    model = find(args.model)

    from insight.hub.onnx_export import export_onnx

    files = export_onnx(model, args.folder, args.input_size)
    print(f"wrote {files.encoder} and {files.decoder}; at most {files.difference:.1g} from PyTorch in ONNX Runtime")
