"""Training curves, drawn from metrics.json."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from insight.errors import InputError
from insight.runtime.json_values import parse_json

from .figures import plot_text, png_figure


def read_metrics(run: str | os.PathLike) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read the metrics of a training run.

    Args:
        run: OUTPUT_DIR of the training.

    Returns:
        {metric: (iterations, values)}, both (N,), sorted by iteration; the last value counts where a resumed run
        repeated an iteration.

    Raises:
        InputError: the folder has no metrics.json, or it cannot be read.
    """
    path = Path(run, "metrics.json")
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected the OUTPUT_DIR of a training run")
    table: dict[str, dict[int, float]] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        entry = _metrics_of(line)
        if "iteration" not in entry:
            raise InputError(
                f"{path}, line {number}: expected a JSON object of numbers with an iteration; remove the line if a "
                "killed training left it"
            )
        iteration = entry.pop("iteration")
        for name, value in entry.items():
            table.setdefault(name, {})[iteration] = value
    if not table:
        raise InputError(f"{path}: holds no metrics; a training run writes the first after 20 iterations")
    return {
        name: (np.array(sorted(points)), np.array([points[i] for i in sorted(points)]))
        for name, points in table.items()
    }


def _metrics_of(line: bytes) -> dict[str, float]:
    """The metrics in a line of metrics.json; empty if it is not an object of numbers that a float holds."""
    try:
        entry = parse_json(line, "")
        if isinstance(entry, dict) and all(type(value) in (int, float) for value in entry.values()):
            return {name: float(value) for name, value in entry.items()}
    except (InputError, OverflowError):
        pass
    return {}


def plot_metrics(
    runs: Sequence[str | os.PathLike], names: Sequence[str] | None, output: str | os.PathLike, window: int = 5
) -> None:
    """Draw metrics of several training runs, one panel per metric.

    Args:
        runs: their OUTPUT_DIRs; the legend shows their folder names, or their paths where names repeat.
        names: metrics, such as "total_loss", "loss_mask" or "segm/AP"; None for all losses of any run.
        output: the PNG file.
        window: size of the moving average: each point is the mean of its value and those before it.

    Raises:
        InputError: a run has no metrics that can be read, or no run has one of the metrics.
    """
    labels = [Path(run).name for run in runs]
    if len(set(labels)) < len(labels):
        labels = list(map(str, runs))
    curves = {label: read_metrics(run) for label, run in zip(labels, runs)}
    names = names or ["total_loss", *sorted(n for n in set().union(*curves.values()) if n.startswith("loss_"))]
    colours = {label: f"C{i}" for i, label in enumerate(labels)}  # the same in every panel
    columns = min(len(names), 4)
    rows = -(-len(names) // columns)
    with png_figure(output, (4.2 * columns, 3.2 * rows)) as figure:
        for place, name in enumerate(names, 1):
            axes = figure.add_subplot(rows, columns, place)
            found = {run: metrics[name] for run, metrics in curves.items() if name in metrics}
            if not found:
                known = sorted(set().union(*curves.values()))
                raise InputError(f"metrics: no run has {name!r}; they have {', '.join(known)}")
            for run, (iterations, values) in found.items():
                marker = "o" if len(values) == 1 else None
                axes.plot(
                    iterations, _moving_mean(values, window), label=plot_text(run), color=colours[run], marker=marker
                )
            axes.set(title=plot_text(name), xlabel="iteration")
            axes.grid(alpha=0.3)
        lines = {line.get_label(): line for axes in figure.axes for line in axes.lines}
        figure.legend(lines.values(), lines, loc="outside lower center", ncols=3)


def _moving_mean(values: np.ndarray, window: int) -> np.ndarray:
    """The mean of each value and those before it, `window` in all, or as many as there are."""
    sums = np.convolve(values, np.ones(window))[: len(values)]
    return sums / np.minimum(np.arange(1, len(values) + 1), window)
