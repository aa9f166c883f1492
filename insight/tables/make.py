"""Making a table: its runs, measures and files."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog

from insight.config import is_sopseg
from insight.data.datasets import register_from_config, require_registered
from insight.errors import InputError
from insight.evaluation.comparison import ComparedModel, choose_entries, draw_comparisons, worst_entries
from insight.modeling.checkpointer import require_weights
from insight.runtime.file_names import safe_name
from insight.runtime.machine import describe_machine

from .measures import count_gmacs, count_parameters, measure_speed
from .runs import Run, plan_runs
from .spec import Pictures, Table
from .summary import summarize
from .sweep import do_runs
from .write import write_table


def make_table(
    table: Table,
    output: str | os.PathLike,
    command: str,
    overrides: Sequence[str] = (),
    num_gpus: int = 1,
) -> tuple[list[Path], dict[str, str]]:
    """Complete the runs of a table, and write the table after each run.

    Args:
        table: the table.
        output: folder for NAME.md, NAME.json, NAME.png, NAME/ with the pictures, and runs/, which tables with the same
            output folder share.
        command: the command that makes the table, to write into it.
        overrides: KEY, VALUE, KEY, VALUE, ... for every row.
        num_gpus: number of GPUs to train with.

    Returns:
        The files; and, by label, why a run failed or is left to another process.

    Raises:
        OSError: a dataset of a run to do, or of the pictures, is missing.
        InputError: weights that a run starts from are missing, a config cannot be used, a folder holds another run, the
            results lack a column, or the dataset lacks an image of the pictures.
    """
    runs = plan_runs(table, Path(output, "runs"), overrides)
    metrics = {column.metric for column in table.columns if column.is_measure}
    cfgs = {run.row.name: run.cfg for run in reversed(runs)}  # of the first seed
    measures = {(name, metric): _count(cfg, metric) for name, cfg in cfgs.items() for metric in metrics - _TIMED}
    made = describe_machine(torch.device(runs[0].cfg.MODEL.DEVICE))
    first = [next(run for run in runs if run.row is row) for row in table.rows]
    # before the runs, so that a wrong name is found now instead of days later
    dataset, entries = _choose(table.pictures, first) if table.pictures else ("", [])

    def write(pictures: Sequence[Path] = ()) -> list[Path]:
        return write_table(summarize(table, runs, measures), output, command, made, pictures)

    lacking = [run for run in runs if run.trained() is None]
    for run in lacking:
        require_weights(run.cfg, resume=not run.row.eval_only)
    _load_datasets(lacking)
    write()  # also finds out early whether it can be written
    failures = do_runs(runs, write, num_gpus)
    if metrics & _TIMED and not failures:
        for run, speed in zip(first, measure_speed([_trained(run) for run in first])):
            measures.update(((run.row.name, metric), value) for metric, value in speed.items())
    if table.pictures is None or failures:
        return write(), failures
    models = [ComparedModel(run.row.name, _trained(run)) for run in first]
    folder = Path(output, safe_name(table.name))
    if table.pictures.worst:
        prompted = first[-1].folder / "inference" / safe_name(dataset, "_prompted.json")
        entries = worst_entries(dataset, prompted, table.pictures.count)
    return write(draw_comparisons(models, dataset, entries, folder, prompted=table.pictures.prompted)), failures


_TIMED = {"fps", "speed"}


def _load_datasets(runs: Sequence[Run]) -> None:
    """Load every dataset once, so that a missing one is an error now, not in each run."""
    loaded = set()
    for run in runs:
        register_from_config(run.cfg)
        for key in ("TEST",) if run.row.eval_only else ("TRAIN", "TEST"):
            names = run.cfg.DATASETS[key]
            require_registered(names, f"row {run.row.name!r}: DATASETS.{key}")
            for name in [n for n in dict.fromkeys(names) if n not in loaded]:
                DatasetCatalog.get(name)
            loaded.update(names)


def _choose(pictures: Pictures, first: Sequence[Run]) -> tuple[str, list[dict]]:
    """The dataset of the pictures, and the entries of its images as far as they are known before the runs."""
    register_from_config(first[0].cfg)
    dataset = first[0].cfg.DATASETS.TEST[0]
    require_registered([dataset], f"row {first[0].row.name!r}: DATASETS.TEST")
    if not pictures.worst:
        return dataset, choose_entries(dataset, pictures.images, pictures.count)
    if not is_sopseg(first[-1].cfg):
        raise InputError(f"pictures: worst: expected a SOPSeg model in the last row, {first[-1].row.name!r} is not one")
    return dataset, []


def _count(cfg: CfgNode, metric: str) -> float:
    return count_parameters(cfg) / 1e6 if metric == "parameters" else count_gmacs(cfg, int(metric.split("/")[1]))


def _trained(run: Run) -> CfgNode:
    cfg = run.cfg.clone()
    cfg.defrost()
    if not run.row.eval_only:
        cfg.MODEL.WEIGHTS = str(run.folder / "model_final.pth")
    return cfg
