"""`insight compare`."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from insight.config.files import read_files
from insight.config.shipped import shipped_configs
from insight.errors import InputError
from insight.inference.score_threshold import check_score_threshold
from insight.runtime.machine import check_device_name
from insight.runtime.outputs import check_output_folder

from .options import add_bad_options_over_config, add_command, add_device, check_checkpoint, integer, overrides_of


def add_parser(commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "compare",
        run,
        "Draw images of a dataset side by side: the ground truth and the predictions of several models",
        (
            "compare --runs baseline=output/baseline ours=output/light --output pictures",
            "compare --runs ours=output/light --prompted --images 287.jpg 604.jpg --output pictures",
            "compare --runs ours=output/light --worst 8 --output pictures",
        ),
    )
    parser.add_argument(
        "--runs",
        nargs="+",
        required=True,
        metavar="NAME=RUN",
        help="models: the OUTPUT_DIR of a training run, or CONFIG,WEIGHTS (WEIGHTS default to those of the config)",
    )
    add_device(parser, "MODEL.DEVICE of each config")
    data = parser.add_argument_group("images")
    data.add_argument("--dataset", metavar="NAME", help="default: the first of DATASETS.TEST of the first model")
    which = data.add_mutually_exclusive_group()
    which.add_argument(
        "--images", nargs="+", default=[], metavar="FILE", help="names of images, with folders where names repeat"
    )
    which.add_argument(
        "--worst",
        type=integer(1),
        metavar="N",
        help="the N images with the lowest IoU of an object, by inference/DATASET_prompted.json of the last of --runs",
    )
    which.add_argument(
        "--count",
        type=integer(1),
        default=8,
        metavar="N",
        help="otherwise N images with many classes (default: %(default)s)",
    )
    results = parser.add_argument_group("results")
    results.add_argument(
        "--prompted", action="store_true", help="prompt detectors with the ground-truth boxes, as SOPSeg always is"
    )
    results.add_argument(
        "--score-threshold",
        type=float,
        default=0.5,
        metavar="S",
        help="lowest score of an instance that a detector finds, 0 to 1 (default: %(default)s)",
    )
    results.add_argument(
        "--output", default="output/compare", metavar="DIR", help="folder for the pictures (default: %(default)s)"
    )
    add_bad_options_over_config(parser)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    output = check_output_folder(args.output)
    check_score_threshold(args.score_threshold)
    check_device_name(args.device)
    runs = [_parse_run(text) for text in args.runs]

    from insight.data.datasets import require_registered
    from insight.evaluation.comparison import choose_entries, draw_comparisons, worst_entries
    from insight.runtime.locks import output_folder

    args.opts = []
    models = [_compared(*run, overrides_of(args)) for run in runs]
    dataset = args.dataset or next(iter(models[0].cfg.DATASETS.TEST), None)
    if dataset is None:
        raise InputError("dataset: expected the name of a dataset, as DATASETS.TEST of the first model is empty")
    require_registered([dataset], "dataset" if args.dataset else "DATASETS.TEST")
    if args.worst is None:
        entries = choose_entries(dataset, args.images, args.count)
    else:
        measured = Path(models[-1].cfg.OUTPUT_DIR, "inference", f"{dataset}_prompted.json")
        entries = worst_entries(dataset, measured, args.worst)
    with output_folder(output):
        paths = draw_comparisons(
            models, dataset, entries, output, prompted=args.prompted, score_threshold=args.score_threshold
        )
    print(f"wrote {len(paths)} pictures to {output}")


def _parse_run(text: str) -> tuple[str, str, list[str]]:
    """The name, the config file and the overrides that NAME=DIR or NAME=CONFIG,WEIGHTS means."""
    name, _, run = text.partition("=")
    config, _, weights = (run, "", "") if os.path.exists(run) else run.partition(",")
    if not name or not config:
        raise InputError(f"runs: expected NAME=DIR or NAME=CONFIG,WEIGHTS, got {text!r}")
    overrides = []
    if Path(config).is_dir():
        overrides = ["OUTPUT_DIR", config]  # it may have been moved
        config, weights = f"{config}/config.yaml", weights or f"{config}/model_final.pth"
    elif not weights and not os.path.exists(config) and config not in shipped_configs():
        raise InputError(
            f"runs: {name}: expected the folder of a training run, or CONFIG,WEIGHTS, got {run!r}: no such folder"
        )
    read_files([config])
    check_checkpoint(weights)
    return name, config, [*overrides, *(["MODEL.WEIGHTS", weights] if weights else [])]


def _compared(name: str, config: str, overrides: Sequence[str], more: Sequence[str]):
    """The model of a run, with more config overrides."""
    from insight.config import load_config
    from insight.data.datasets import register_from_config
    from insight.evaluation.comparison import ComparedModel

    cfg = load_config([config], [*overrides, *more])
    register_from_config(cfg)
    return ComparedModel(name, cfg)
