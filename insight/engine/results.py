"""results.json: what a run came to, so that it need not be repeated."""

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

import yaml
from detectron2.config import CfgNode

from insight.config import dump_config, load_config
from insight.runtime.atomic_files import atomic_write
from insight.runtime.json_values import plain

RESULTS, CONFIG = "results.json", "config.yaml"
# Where and how a run works, not what it comes to.
_PLACES = ("OUTPUT_DIR", "MODEL.DEVICE", "DATALOADER.NUM_WORKERS")

_logger = logging.getLogger(__name__)

Metrics = dict[str, dict[str, dict[str, float]]]


def write_config(cfg: CfgNode, evaluation: bool = False) -> None:
    """Write the whole config to OUTPUT_DIR/config.yaml: once model, weights and data are found to go with it.

    Args:
        cfg: the config.
        evaluation: nothing will be trained: the config of a training that lies there stays, and a warning says so if it
            differs, for the results of the training are replaced.

    Raises:
        OSError: it cannot be written.
    """
    path = Path(cfg.OUTPUT_DIR, CONFIG)
    if evaluation and path.is_file() and holds_checkpoint(cfg.OUTPUT_DIR):
        try:
            changes = _changes(path, cfg)
        except ValueError as error:  # another program's training
            changes = [str(error)]
        if _lies_beside(path, cfg.MODEL.WEIGHTS):
            changes = [change for change in changes if not change.startswith("MODEL.WEIGHTS ")]
        if changes:
            _logger.warning(
                f"{cfg.OUTPUT_DIR} holds a training of another config ({_shown(changes)}): its {RESULTS} and "
                "inference/ are replaced; another OUTPUT_DIR keeps them"
            )
        return
    with atomic_write(path) as file:
        file.write(dump_config(cfg))
    _logger.info(f"Full config saved to {path}")


def by_dataset(cfg: CfgNode, results: dict) -> Metrics:
    """The results of `Trainer.test`, which leaves the name out where there is one data set, however often it is listed.

    Args:
        cfg: the config that was tested.
        results: what came out.

    Returns:
        {data set: {task: {metric: value}}}
    """
    return {cfg.DATASETS.TEST[0]: results} if len(set(cfg.DATASETS.TEST)) == 1 else dict(results)


def write_results(path: str | os.PathLike, results: Metrics, **more: Any) -> None:
    """Write results; the file is whole or absent.

    Args:
        path: the JSON file.
        results: {data set: {task: {metric: value}}}; what is no number becomes null.
        more: other values to keep, beside "results".
    """
    with atomic_write(path) as file:
        json.dump(plain({**more, "results": results}), file, indent=1)


def read_results(path: str | os.PathLike) -> dict[str, Any]:
    """Read what `write_results` wrote.

    Args:
        path: the JSON file.

    Returns:
        "results", with NaN for null, and what else was kept.

    Raises:
        ValueError: it is not such a file.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        for tasks in content["results"].values():
            for metrics in tasks.values():
                metrics.update((name, float("nan")) for name, value in metrics.items() if value is None)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}: not the results of a run ({error!r}); remove it") from error
    return content


def config_digest(cfg: CfgNode | str) -> str:
    """A short name of all that decides what a run comes to.

    Args:
        cfg: the config, or its text.

    Returns:
        16 hexadecimal digits.
    """
    leaves = _leaves(yaml.safe_load(dump_config(cfg) if isinstance(cfg, CfgNode) else cfg))
    return hashlib.sha256(json.dumps(leaves, sort_keys=True).encode()).hexdigest()[:16]


def finished_run(folder: str | os.PathLike, cfg: CfgNode) -> dict[str, Any] | None:
    """The results of a run, if it has ended.

    Args:
        folder: its OUTPUT_DIR.
        cfg: what was to be run. Keys that are newer than the run count as left at their defaults; which device worked,
            and how many processes loaded data, does not matter.

    Returns:
        As `read_results`; None where there is no run, or one that has not ended.

    Raises:
        ValueError: the folder holds a run of another config, with results or a checkpoint.
    """
    path, results = Path(folder, CONFIG), Path(folder, RESULTS)
    if not path.is_file() or not (results.is_file() or holds_checkpoint(folder)):
        return None  # nothing was begun, or it failed before anything was made
    changes = _changes(path, cfg)
    if changes:
        raise ValueError(
            f"{folder}: holds a run of another config ({_shown(changes)}): remove it, or choose another folder"
        )
    if not results.is_file():
        return None
    content = read_results(results)
    return content if content.get("config") == config_digest(path.read_text(encoding="utf-8")) else None


def holds_checkpoint(folder: str | os.PathLike) -> bool:
    """Whether a training has left something to go on from, or to use.

    Args:
        folder: its OUTPUT_DIR.

    Returns:
        Whether there is a checkpoint.
    """
    return any(Path(folder).glob("*.pth"))


def _lies_beside(path: Path, weights: str) -> bool:
    return bool(weights) and Path(weights).parent.resolve() == path.parent.resolve()


def _shown(changes: list[str]) -> str:
    return "; ".join(changes[:3]) + (f"; {len(changes) - 3} more" if len(changes) > 3 else "")


def _changes(path: Path, cfg: CfgNode) -> list[str]:
    """How the config that a run was started with differs."""
    then, now = (_leaves(yaml.safe_load(c.dump())) for c in (load_config(str(path)), cfg))
    if _lies_beside(path, then["MODEL.WEIGHTS"]):
        then["MODEL.WEIGHTS"] = now["MODEL.WEIGHTS"]  # the run's own checkpoint was evaluated
    return [f"{key} was {then[key]!r}, now {value!r}" for key, value in now.items() if then[key] != value]


def _leaves(node: dict, prefix: str = "") -> dict[str, Any]:
    found = {}
    for name, value in node.items():
        found |= _leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return {key: value for key, value in found.items() if key not in _PLACES}
