"""config.yaml and results.json of a run, by which a finished run is recognised."""

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

import yaml
from detectron2.config import CfgNode

from insight.config import dump_config, load_config
from insight.errors import InputError
from insight.runtime.atomic_files import atomic_write
from insight.runtime.json_values import parse_json, plain

RESULTS, CONFIG = "results.json", "config.yaml"
# Keys that do not change the results.
_PLACES = ("OUTPUT_DIR", "MODEL.DEVICE", "DATALOADER.NUM_WORKERS")

_logger = logging.getLogger(__name__)

Metrics = dict[str, dict[str, dict[str, float]]]


def write_config(cfg: CfgNode, evaluation: bool = False) -> None:
    """Write the whole config to OUTPUT_DIR/config.yaml; call it once model, weights and data are known to fit.

    Args:
        cfg: the config.
        evaluation: True where nothing will be trained: the config of an earlier training in that folder is kept, with
            a warning if it differs, as that training's results will be replaced.

    Raises:
        OSError: it cannot be written.
    """
    path = Path(cfg.OUTPUT_DIR, CONFIG)
    if evaluation and path.is_file() and holds_checkpoint(cfg.OUTPUT_DIR):
        try:
            changes = _changes(path, cfg)
        except ValueError as error:  # the training of another program
            changes = [str(error)]
        if _lies_beside(path, cfg.MODEL.WEIGHTS):
            changes = [change for change in changes if not change.startswith("MODEL.WEIGHTS ")]
        if changes:
            _logger.warning(
                f"{cfg.OUTPUT_DIR} holds a training run of another config ({_shown(changes)}): its {RESULTS} and "
                "inference/ are replaced; another OUTPUT_DIR keeps them"
            )
        return
    with atomic_write(path) as file:
        file.write(dump_config(cfg))
    _logger.info(f"Full config saved to {path}")


def by_dataset(cfg: CfgNode, results: dict) -> Metrics:
    """Bring the results of `Trainer.test` to one form; it leaves out the name of a single dataset.

    Args:
        cfg: the config that was tested.
        results: the output of `Trainer.test`.

    Returns:
        {dataset: {task: {metric: value}}}
    """
    return {cfg.DATASETS.TEST[0]: results} if len(set(cfg.DATASETS.TEST)) == 1 else dict(results)


def write_results(path: str | os.PathLike, results: Metrics, **more: Any) -> None:
    """Write results atomically.

    Args:
        path: the JSON file.
        results: {dataset: {task: {metric: value}}}; NaN becomes null.
        more: other entries to write, besides "results".
    """
    with atomic_write(path) as file:
        json.dump(plain({**more, "results": results}), file, indent=1)


def read_results(path: str | os.PathLike) -> dict[str, Any]:
    """Read a file of `write_results`.

    Args:
        path: the JSON file.

    Returns:
        Its content: "results", with NaN for null, and the other entries.

    Raises:
        InputError: not such a file.
    """
    try:
        content = parse_json(Path(path).read_bytes(), str(path))
        for tasks in content["results"].values():
            for metrics in tasks.values():
                metrics.update((name, float("nan")) for name, value in metrics.items() if value is None)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"{path}: expected the results of a run, got something else ({error!r:.200}); remove it"
        ) from error
    return content


def config_digest(cfg: CfgNode | str) -> str:
    """Return a digest of the config keys that can change a run's results.

    Args:
        cfg: the config, or its YAML text.

    Returns:
        16 hexadecimal digits.
    """
    leaves = _leaves(yaml.safe_load(dump_config(cfg) if isinstance(cfg, CfgNode) else cfg))
    return hashlib.sha256(json.dumps(leaves, sort_keys=True).encode()).hexdigest()[:16]


def finished_run(folder: str | os.PathLike, cfg: CfgNode) -> dict[str, Any] | None:
    """Read the results of a run, if it has finished.

    Args:
        folder: its OUTPUT_DIR.
        cfg: the config to run. Keys that are newer than the run count as their defaults; the device and the number of
            data-loading processes are not compared.

    Returns:
        As `read_results`; None if there is no run, or an unfinished one.

    Raises:
        InputError: the folder holds a run of another config, with results or a checkpoint.
    """
    path, results = Path(folder, CONFIG), Path(folder, RESULTS)
    if not path.is_file() or not (results.is_file() or holds_checkpoint(folder)):
        return None  # no run, or one that failed before its first checkpoint
    changes = _changes(path, cfg)
    if changes:
        raise InputError(
            f"{folder}: holds a run of another config ({_shown(changes)}): remove it, or choose another folder"
        )
    if not results.is_file():
        return None
    content = read_results(results)
    return content if content.get("config") == config_digest(path.read_text(encoding="utf-8")) else None


def holds_checkpoint(folder: str | os.PathLike) -> bool:
    """Return whether a run has left a checkpoint.

    Args:
        folder: its OUTPUT_DIR.
    """
    return any(Path(folder).glob("*.pth"))


def _lies_beside(path: Path, weights: str) -> bool:
    return bool(weights) and Path(weights).parent.resolve() == path.parent.resolve()


def _shown(changes: list[str]) -> str:
    return "; ".join(changes[:3]) + (f"; {len(changes) - 3} more" if len(changes) > 3 else "")


def _changes(path: Path, cfg: CfgNode) -> list[str]:
    """Differences between a run's config file and a config."""
    then, now = (_leaves(yaml.safe_load(c.dump())) for c in (load_config(str(path)), cfg))
    if _lies_beside(path, then["MODEL.WEIGHTS"]):
        then["MODEL.WEIGHTS"] = now["MODEL.WEIGHTS"]  # the run's own checkpoint was evaluated
    return [f"{key} was {then[key]!r}, now {value!r}" for key, value in now.items() if then[key] != value]


def _leaves(node: dict, prefix: str = "") -> dict[str, Any]:
    found = {}
    for name, value in node.items():
        found |= _leaves(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return {key: value for key, value in found.items() if key not in _PLACES}
