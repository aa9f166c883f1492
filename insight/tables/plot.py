"""The plot of a table."""

import os

import numpy as np

from insight.visualization.figures import plot_text, png_figure

from .spec import Column
from .summary import Cell, Summary


def draw(summary: Summary, path: str | os.PathLike) -> bool:
    """Draw the plot of a table, with standard deviations as error bars.

    Args:
        summary: the table.
        path: PNG file to write.

    Returns:
        Whether there was a number to draw; without one, no file is written.
    """
    plot = summary.table.plot
    left, right = _chosen(summary)
    if not any(cell.mean is not None for row in summary.cells for cell in (row[k] for k in left + right)):
        return False
    bars = plot.kind == "bars"
    with png_figure(path, (max(6.0, 1.1 * len(left)) if bars else 6.0, 4.0)) as figure:
        axes = figure.subplots()
        if bars:
            _bars(axes, summary, left)
        elif plot.along == "columns":
            for row, cells in zip(summary.table.rows, summary.cells):
                _line(axes, plot.x, [cells[k] for k in left], row.name)
        else:
            for k in left:
                _line(axes, plot.x, [cells[k] for cells in summary.cells], summary.columns[k].title)
            if right:
                other = axes.twinx()
                for k in right:
                    _line(other, plot.x, [cells[k] for cells in summary.cells], summary.columns[k].title, "--", "0.4")
                other.set_ylabel(plot_text(", ".join(summary.columns[k].title for k in right)))
        if plot.kind == "lines":
            axes.set(xlabel=plot.label, xticks=plot.x)
        axes.set_title(plot_text(summary.table.title), fontsize=10, wrap=True)
        axes.grid(alpha=0.3, axis="y")
        figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    return True


def _chosen(summary: Summary) -> tuple[list[int], list[int]]:
    """Indices of the columns to draw on the left axis, and on the right axis."""
    plot = summary.table.plot
    origin = {column.metric: column.title for column in summary.table.columns}

    def is_one_of(column: Column, titles: tuple[str, ...]) -> bool:
        if column.title in titles:
            return True
        prefixes = [metric.split("*")[0] for metric, title in origin.items() if "*" in metric and title in titles]
        return column.metric not in origin and any(column.metric.startswith(prefix) for prefix in prefixes)

    right = [k for k, column in enumerate(summary.columns) if is_one_of(column, plot.right)]
    wanted = [not c.is_measure if not plot.columns else is_one_of(c, plot.columns) for c in summary.columns]
    return [k for k, is_wanted in enumerate(wanted) if is_wanted and k not in right], right


def _bars(axes, summary: Summary, columns: list[int]) -> None:
    rows = summary.table.rows
    width = 0.8 / len(rows)
    places = np.arange(len(columns))
    for i, (row, cells) in enumerate(zip(rows, summary.cells)):
        means, deviations = _numbers([cells[k] for k in columns])
        errors = {"yerr": deviations, "capsize": 2} if np.any(deviations > 0) else {}
        axes.bar(places + (i - (len(rows) - 1) / 2) * width, means, width, label=plot_text(row.name), **errors)
    titles = [plot_text(summary.columns[k].title) for k in columns]
    axes.set_xticks(places, titles, rotation=30 if max(map(len, titles)) * len(titles) > 70 else 0, ha="center")


def _line(
    axes, x: tuple[float, ...], cells: list[Cell], label: str, style: str = "-", color: str | None = None
) -> None:
    means, deviations = _numbers(cells)
    axes.errorbar(x, means, deviations, label=plot_text(label), marker="o", capsize=2, linestyle=style, color=color)


def _numbers(cells: list[Cell]) -> tuple[np.ndarray, np.ndarray]:
    """Means, NaN if missing, and deviations, 0 if missing."""
    means = [np.nan if cell.mean is None else cell.mean for cell in cells]
    return np.array(means, float), np.array([cell.deviation or 0.0 for cell in cells])
