"""Curves of trainings, from the metrics.json that each writes."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from insight.errors import InputError

from .figures import png_figure


def read_metrics(run: str | os.PathLike) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Each metric of a run over its iterations.

    Args:
        run: OUTPUT_DIR of a training.

    Returns:
        By metric, (iterations, values), both (N,), sorted; of an iteration that a resumed run repeated, the last value.

    Raises:
        InputError: the folder has no metrics, or they cannot be read.
    """
    path = Path(run, "metrics.json")
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected the OUTPUT_DIR of a training")
    table: dict[str, dict[int, float]] = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            entry = json.loads(line)
            iteration = entry.pop("iteration")
        except (json.JSONDecodeError, KeyError) as error:
            raise InputError(
                f"{path}, line {number}: expected a JSON object with an iteration ({error}); remove the line if a "
                "killed training left it"
            ) from error
        for name, value in entry.items():
            table.setdefault(name, {})[iteration] = value
    return {
        name: (np.array(sorted(points)), np.array([points[i] for i in sorted(points)]))
        for name, points in table.items()
    }


def plot_metrics(
    runs: Sequence[str | os.PathLike], names: Sequence[str] | None, output: str | os.PathLike, window: int = 5
) -> None:
    """Draw metrics of several runs side by side, one panel a metric.

    Args:
        runs: OUTPUT_DIRs of trainings; their folder names are the legend, or their paths where names repeat.
        names: metrics, such as "total_loss", "loss_mask" or "segm/AP"; None: all losses of any run.
        output: the PNG file.
        window: how many neighbouring points a curve averages.

    Raises:
        InputError: of `read_metrics`, or no run has a metric.
    """
    labels = [Path(run).name for run in runs]
    if len(set(labels)) < len(labels):
        labels = list(map(str, runs))
    curves = {label: read_metrics(run) for label, run in zip(labels, runs)}
    names = names or ["total_loss", *sorted(n for n in set().union(*curves.values()) if n.startswith("loss_"))]
    colours = {label: f"C{i}" for i, label in enumerate(labels)}  # of a run in every panel, also where others lack it
    columns = min(len(names), 4)
    rows = -(-len(names) // columns)
    with png_figure(output, (4.2 * columns, 3.2 * rows)) as figure:
        for place, name in enumerate(names, 1):
            axes = figure.add_subplot(rows, columns, place)
            found = {run: metrics[name] for run, metrics in curves.items() if name in metrics}
            if not found:
                known = sorted(set().union(*curves.values()))
                raise InputError(f"no run has the metric {name!r}; they have {', '.join(known)}")
            for run, (iterations, values) in found.items():
                width = min(window, len(values))
                smooth = np.convolve(values, np.ones(width) / width, mode="valid")
                marker = "o" if len(smooth) == 1 else None
                axes.plot(iterations[width - 1 :], smooth, label=run, color=colours[run], marker=marker)
            axes.set(title=name, xlabel="iteration")
            axes.grid(alpha=0.3)
        lines = {line.get_label(): line for axes in figure.axes for line in axes.lines}
        figure.legend(lines.values(), lines, loc="outside lower center", ncols=3)
