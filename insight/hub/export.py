"""A model folder from a training run. Detectors need Detectron2, and so does reading the config of a run."""

import ast
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from insight.config import changed_keys, is_sopseg, load_config
from insight.errors import InputError
from insight.modeling.sopseg import load_sopseg
from insight.modeling.sopseg.checkpoint import identify
from insight.runtime.json_values import parse_json
from insight.runtime.words import counted

from .cards import NOTES
from .model_folder import SECTIONS, ModelError, ModelFolder, SOPSegArchitecture
from .writing import write_model

if TYPE_CHECKING:
    from detectron2.config import CfgNode

_CONFIG, _RESULTS, _LAST, _FINAL, _LOG = "config.yaml", "results.json", "last_checkpoint", "model_final.pth", "log.txt"
# Keys that hold places of one machine, or nothing that another may need.
_PLACES = {
    "MODEL": ("WEIGHTS", "DEVICE"),
    "DATASETS": ("COCO",),
    "SOPSEG": ("WEIGHTS",),
    "TIMM": ("WEIGHTS",),
    "SOPSEG_BRANCH": ("WEIGHTS",),
}


def export_run(
    run: str | Path,
    folder: str | Path,
    *,
    name: str | None = None,
    weights: str | Path | None = None,
    license: str = "unknown",
    gsd: tuple[float, float] | None = None,
    score_threshold: float = 0.5,
    metrics: Sequence[str | Path] = (),
    half: bool = True,
    notes: Mapping[str, str] | None = None,
    overrides: Sequence[Any] = (),
) -> ModelFolder:
    """Make a model folder of a training run, with a card that is filled from the run.

    Args:
        run: OUTPUT_DIR of the training: config.yaml, a checkpoint and, as far as there are, results.json and log.txt.
        folder: the model folder to write; a model in it is replaced.
        name: name of the model; default: the folder's.
        weights: the checkpoint; default: model_final.pth, else the one that last_checkpoint names.
        license: SPDX identifier in lower case, such as "apache-2.0".
        gsd: smallest and largest ground sample distance of the training images, metres per pixel.
        score_threshold: of a detector, the lowest score of a detection to show.
        metrics: JSON files of results to record instead of the run's own results.json.
        half: store large tensors in float16.
        notes: of the training, for the card, over what the run says: any of `NOTES`, such as "start": what the
            training started from.
        overrides: KEY, VALUE, ... over the run's config.

    Returns:
        The model.

    Raises:
        InsightError: the run has no config or checkpoint, they do not fit, or the folder holds something else.
        OSError: a file cannot be read or written.
    """
    run, folder = Path(run), Path(folder)
    if unknown := sorted((notes or {}).keys() - NOTES.keys()):
        raise InputError(f"notes: expected {', '.join(NOTES)}, got {unknown[0]!r:.80}")
    if not (run / _CONFIG).is_file():
        raise InputError(f"{run}: expected the output folder of a training run, which has a {_CONFIG}")
    cfg = load_config(str(run / _CONFIG), ["MODEL.DEVICE", "cpu", *overrides])
    checkpoint = Path(weights) if weights is not None else _checkpoint(run)
    if not checkpoint.is_file():
        raise ModelError(f"{checkpoint}: no such checkpoint")
    files = [Path(file) for file in metrics] or [run / _RESULTS]
    model = ModelFolder(
        path=folder,
        name=name or folder.resolve().name,
        kind="sopseg" if is_sopseg(cfg) else "detector",
        sha256="",
        gsd=gsd,
        license=license,
        metrics={dataset: tasks for file in files if file.is_file() for dataset, tasks in _results(file).items()},
        training=_training(run, cfg, checkpoint) | dict(notes or {}),
    )
    for file in map(Path, metrics):
        if not file.is_file():
            raise InputError(f"metrics: {file}: no such file")
    if model.kind == "sopseg":
        model, state = _sopseg(model, cfg, checkpoint)
    else:
        model, state = _detector(model, cfg, checkpoint)
        model = replace(model, score_threshold=score_threshold)
    return write_model(model, state, half)


def _checkpoint(run: Path) -> Path:
    if (run / _FINAL).is_file():
        return run / _FINAL
    if (run / _LAST).is_file():
        return run / Path((run / _LAST).read_text(encoding="utf-8", errors="replace").strip()).name
    raise InputError(f"{run}: expected a checkpoint, {_FINAL} or one that {_LAST} names; there is neither")


def _sopseg(model: ModelFolder, cfg: "CfgNode", checkpoint: Path) -> tuple[ModelFolder, dict[str, Tensor]]:
    keys = cfg.MODEL.SOPSEG
    state = load_sopseg(checkpoint, keys.ENCODER).state_dict()
    encoder, decoder = identify(state, checkpoint)
    if decoder != keys.DECODER:
        raise ModelError(f"{checkpoint}: expected the mask decoder {keys.DECODER!r} of its config, got {decoder!r}")
    architecture = SOPSegArchitecture(
        encoder=encoder,
        decoder=decoder,
        input_size=keys.INPUT_SIZE,
        prompt="box" if keys.PROMPT == "box" else "oriented_box",
        magnify=keys.MAGNIFY,
    )
    return replace(model, architecture=architecture), state


def _detector(model: ModelFolder, cfg: "CfgNode", checkpoint: Path) -> tuple[ModelFolder, dict[str, Tensor]]:
    from detectron2.modeling import build_model

    from insight.modeling.checkpointer import Checkpointer

    if cfg.MODEL.SOPSEG_BRANCH.ENABLED:
        raise InputError(
            "MODEL.SOPSEG_BRANCH.ENABLED: a model folder holds one model; set it to False, and export SOPSeg by itself"
        )
    bare = cfg.clone()
    bare.defrost()
    bare.MODEL.TIMM.WEIGHTS = ""  # the checkpoint has them
    built = build_model(bare)
    more = Checkpointer(built, exact=True).load(str(checkpoint), checkpointables=[])
    names = more.get("trainer", {}).get("class_names") or _registered_names(cfg)
    if len(names) != built.roi_heads.num_classes:
        raise InputError(
            f"{checkpoint}: names no classes, and DATASETS.TEST has {len(names)}; set DATASETS.TEST to a dataset with "
            f"the model's {counted(built.roi_heads.num_classes, 'class')}"
        )
    config = {key: value for key, value in _portable(changed_keys(bare)).items() if key in SECTIONS}
    config.get("DATASETS", {}).pop("TRAIN", None)
    return replace(model, config=config, class_names=tuple(names)), dict(built.state_dict())


def _registered_names(cfg: "CfgNode") -> list[str]:
    from detectron2.data import MetadataCatalog

    from insight.data.datasets import register_from_config

    register_from_config(cfg)
    return MetadataCatalog.get(cfg.DATASETS.TEST[0]).get("thing_classes", []) if cfg.DATASETS.TEST else []


def _portable(config: dict[str, Any], section: str = "") -> dict[str, Any]:
    """A config without what holds on one machine only, and without sections that are empty then."""
    kept = {}
    for key, value in config.items():
        if key in _PLACES.get(section, ()) or (not section and key == "OUTPUT_DIR"):
            continue
        value = _portable(value, key) if isinstance(value, dict) else value
        if value != {}:
            kept[key] = value
    return kept


def _results(path: Path) -> dict[str, dict[str, dict[str, float | None]]]:
    content = parse_json(path.read_bytes(), str(path))
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict):
        raise InputError(f'{path}: expected a file of results, with "results" by dataset')
    return {
        dataset: {
            task: {name: round(value, 2) for name, value in found.items() if isinstance(value, (int, float))}
            for task, found in tasks.items()
        }
        for dataset, tasks in results.items()
    }


def _training(run: Path, cfg: "CfgNode", checkpoint: Path) -> dict[str, Any]:
    """What is known about a training run, from its config, its results and its log."""
    results = parse_json((run / _RESULTS).read_bytes(), str(run / _RESULTS)) if (run / _RESULTS).is_file() else {}
    made = results.get("made") or {}
    number = re.fullmatch(r"model_(\d+)\.pth", checkpoint.name)
    known = {
        "data": ", ".join(cfg.DATASETS.TRAIN),
        "steps": int(number[1]) + 1 if number else cfg.SOLVER.MAX_ITER,
        "batch": cfg.SOLVER.IMS_PER_BATCH,
        "seed": cfg.SEED,
        "date": str(made.get("date") or datetime.fromtimestamp(checkpoint.stat().st_mtime, UTC).date())[:10],
        "commit": made.get("commit"),
        "machine": made and f"{made.get('cpu')}, {made.get('threads')} threads, torch {made.get('torch')}",
        "command": _command(run / _LOG),
        "config": _portable(changed_keys(cfg)),
    }
    return {key: value for key, value in known.items() if value}


_LOGGED = re.compile(r"Config files: (\[.*\]), overrides: (\[.*\])$", re.MULTILINE)


def _command(log: Path) -> str | None:
    """The command that started a training run, without its paths, from the log."""
    if not log.is_file():
        return None
    found = _LOGGED.search(log.read_text(encoding="utf-8", errors="replace"))
    if not found:
        return None
    files, overrides = (ast.literal_eval(text) for text in found.groups())
    pairs = [
        (key, value)
        for key, value in zip(overrides[::2], overrides[1::2])
        if key not in ("OUTPUT_DIR", "MODEL.DEVICE", "DATALOADER.NUM_WORKERS") and not Path(str(value)).is_absolute()
    ]
    names = [name if Path(name).name == name else Path(name).name for name in files]
    return shlex.join(["insight", "train", "--config-file", *names, *(str(part) for pair in pairs for part in pair)])
