"""Making a table: its runs, its measures, its files."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
from detectron2.config import CfgNode

from insight.machine import describe_machine

from .measures import count_gmacs, count_parameters, measure_speed
from .runs import Run, plan_runs
from .spec import Table
from .summary import summarize
from .sweep import do_runs
from .write import write_table


def make_table(
    table: Table,
    output: str | os.PathLike,
    tools: Path,
    command: str,
    overrides: Sequence[str] = (),
    num_gpus: int = 1,
) -> tuple[list[Path], dict[str, str]]:
    """Do the runs that a table lacks and write it, anew after each run, so that there is always one to look at.

    Args:
        table: the table.
        output: gets NAME.md, NAME.json, NAME.png and runs/, which tables with the same output share.
        tools: the folder of train_net.py and the other commands.
        command: that makes the table, for its reader.
        overrides: KEY VALUE KEY VALUE ... for every row.
        num_gpus: to train with.

    Returns:
        The files, and by the label of each run that failed or is left to another process, why.

    Raises:
        ValueError: a config that cannot be used, a folder of another run, or a column that the results do not have.
    """
    runs = plan_runs(table, Path(output, "runs"), overrides)
    metrics = {column.metric for column in table.columns if column.is_measure}
    cfgs = {run.row.name: run.cfg for run in reversed(runs)}  # of the first seed
    measures = {(name, metric): _count(cfg, metric) for name, cfg in cfgs.items() for metric in metrics - _TIMED}
    made = describe_machine(torch.device(runs[0].cfg.MODEL.DEVICE))

    def write() -> list[Path]:
        return write_table(summarize(table, runs, measures), output, command, made)

    write()  # also finds out early whether it can be written
    failures = do_runs(runs, tools, write, num_gpus)
    if metrics & _TIMED and not failures:
        first = [next(run for run in runs if run.row is row) for row in table.rows]
        for run, speed in zip(first, measure_speed([_trained(run) for run in first])):
            measures.update(((run.row.name, metric), value) for metric, value in speed.items())
    return write(), failures


_TIMED = {"fps", "speed"}


def _count(cfg: CfgNode, metric: str) -> float:
    return count_parameters(cfg) / 1e6 if metric == "parameters" else count_gmacs(cfg, int(metric.split("/")[1]))


def _trained(run: Run) -> CfgNode:
    cfg = run.cfg.clone()
    cfg.defrost()
    if not run.row.eval_only:
        cfg.MODEL.WEIGHTS = str(run.folder / "model_final.pth")
    return cfg
