"""Means, deviations and gains: the cells of a table."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from insight.engine.results import Metrics
from insight.errors import InputError

from .runs import STEPS, Run
from .spec import Column, Table


@dataclass(frozen=True)
class Cell:
    """A number of a row.

    Args:
        values: one per completed run; NaN where there is no ground truth.
        gain: difference of the mean from that of the row to compare with; None for measures and in that row.
    """

    values: tuple[float, ...]
    gain: float | None = None

    @property
    def mean(self) -> float | None:
        """Mean of the values that are numbers; None if there are none."""
        known = [value for value in self.values if not math.isnan(value)]
        return statistics.fmean(known) if known else None

    @property
    def deviation(self) -> float | None:
        """Sample standard deviation; None for fewer than two values."""
        known = [value for value in self.values if not math.isnan(value)]
        return statistics.stdev(known) if len(known) > 1 else None


@dataclass(frozen=True)
class Summary:
    """A table with its numbers.

    Args:
        table: the description.
        columns: its columns, with every * expanded.
        cells: for each row, a cell per column.
        runs: the runs.
        results: `Run.results` of each run, None where it has not ended.
    """

    table: Table
    columns: tuple[Column, ...]
    cells: tuple[tuple[Cell, ...], ...]
    runs: tuple[Run, ...]
    results: tuple[dict[str, Any] | None, ...]


def summarize(table: Table, runs: Sequence[Run], measures: dict[tuple[str, str], float]) -> Summary:
    """Gather the numbers of a table as far as they are known.

    Args:
        table: the table.
        runs: the output of `plan_runs`.
        measures: measures of the models, by row name and metric.

    Returns:
        The summary.

    Raises:
        InputError: a run has results, but not the metric of a column.
    """
    results = tuple(run.results() for run in runs)
    metrics = [content["results"] if content else {} for content in results]
    columns = [expanded for column in table.columns for expanded in _expand(column, metrics)]
    cells: list[tuple[Cell, ...]] = []
    for row in table.rows:
        own = [found for run, found in zip(runs, metrics) if run.row is row and found]
        cells.append(tuple(_cell(column, row.name, own, measures) for column in columns))
    names = [row.name for row in table.rows]
    gained = []
    for row, own in zip(table.rows, cells):
        other = cells[names.index(row.over or names[0])]
        gained.append(tuple(_with_gain(*three) for three in zip(own, other, columns)) if other is not own else own)
    return Summary(table, tuple(columns), tuple(gained), tuple(runs), results)


def _expand(column: Column, metrics: list[Metrics]) -> list[Column]:
    """Expand a * to a column per metric, in the order of the results."""
    if "*" not in column.metric:
        return [column]
    dataset, task, pattern = column.path
    before, after = pattern.split("*")
    found = {}
    for name in (name for run in metrics for name in run.get(dataset, {}).get(task, {})):
        if name.startswith(before) and name.endswith(after) and len(name) >= len(before) + len(after):
            found[name] = name[len(before) : len(name) - len(after)]
    return [
        Column(column.title.replace("*", part), f"{dataset}/{task}/{name}", needed=False)
        for name, part in found.items()
    ]


def _cell(column: Column, row: str, runs: list[Metrics], measures: dict[tuple[str, str], float]) -> Cell:
    if column.is_measure:
        value = measures.get((row, column.metric))
        return Cell(() if value is None else (value,))
    dataset, task, name = column.path
    values = []
    for found in runs:
        known = found.get(dataset, {}).get(task)
        if known is None and task in STEPS:
            continue  # not done yet
        if known is not None and name not in known and not column.needed:
            continue
        if known is None or name not in known:
            there = ", ".join(known) if known else f"the tasks {', '.join(found.get(dataset, {})) or '(none)'}"
            raise InputError(f"column {column.title!r}: row {row!r} has no {column.metric}, only {there}")
        values.append(known[name])
    return Cell(tuple(values))


def _with_gain(cell: Cell, other: Cell, column: Column) -> Cell:
    if column.is_measure or cell.mean is None or other.mean is None:
        return cell
    return Cell(cell.values, cell.mean - other.mean)
