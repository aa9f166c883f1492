"""The table of what a model adds to its prompts: means, bootstrap intervals, and object sizes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from insight.runtime.atomic_files import atomic_write
from insight.runtime.json_values import plain

from .boundary import BOUNDARY_RATIO
from .gain import MeasuredRow, Sample
from .prompted_objects import CONDITIONS, JITTERS, KINDS, Condition

RESAMPLES = 1000
SIZES = ((0, 16), (16, 32), (32, 64), (64, np.inf))  # longer side of the rectangle around an object, pixels
_BY_SIZE = (0.0, 0.2)  # jitters of the table by size
_METRICS = ("class mIoU", "mIoU", "class boundary mIoU", "boundary mIoU")
_TITLES = {
    "class mIoU": "class-mean IoU",
    "mIoU": "instance-mean IoU",
    "class boundary mIoU": "class-mean boundary IoU",
    "boundary mIoU": "instance-mean boundary IoU",
}


@dataclass(frozen=True)
class Estimate:
    """A mean, in percent.

    Args:
        value: the mean.
        low, high: ends of its 95 % bootstrap interval.
    """

    value: float
    low: float
    high: float


class Bootstrap:
    """Means over classes and over instances, with intervals from images drawn again with replacement.

    The instance mean weights classes by their share of the whole dataset, so that it estimates the dataset's also where
    the objects are a choice with equal shares.

    Args:
        images: (N,) int, the image of each object, 0 to I - 1.
        labels: (N,) int, the class of each object.
        totals: how many objects of each class the dataset has.
        resamples: number of draws.
        seed: seed of the draws, which are the same for all values.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        totals: dict[int, int],
        resamples: int = RESAMPLES,
        seed: int = 0,
    ):
        self.classes, self.columns = np.unique(labels, return_inverse=True)
        self.images, self.count = images, int(images.max()) + 1 if len(images) else 0
        self.shares = np.array([totals[label] for label in self.classes.tolist()], float)
        generator = np.random.default_rng(seed)
        draws = generator.multinomial(self.count, np.full(self.count, 1 / max(1, self.count)), resamples)
        self.weights = np.vstack([np.ones(self.count), draws])  # first the images as they are

    def means(self, values: np.ndarray) -> tuple[Estimate, Estimate]:
        """Average values of the objects.

        Args:
            values: (N,) 0 to 1.

        Returns:
            The mean over the classes of each class's mean, and the mean over instances.
        """
        sums, counts = np.zeros((2, self.count, len(self.classes)))
        np.add.at(sums, (self.images, self.columns), values)
        np.add.at(counts, (self.images, self.columns), 1)
        with np.errstate(invalid="ignore"):
            by_class = (self.weights @ sums) / (self.weights @ counts)  # NaN where a draw lacks the class
        drawn = ~np.isnan(by_class)
        filled = np.where(drawn, by_class, 0.0)
        with np.errstate(invalid="ignore"):
            over_classes = filled.sum(1) / drawn.sum(1)
            over_instances = (filled * self.shares).sum(1) / (drawn * self.shares).sum(1)
        return _estimate(over_classes), _estimate(over_instances)


def _estimate(means: np.ndarray) -> Estimate:
    low, high = np.nanpercentile(means[1:], (2.5, 97.5)) if len(means) > 1 else (np.nan, np.nan)
    return Estimate(100 * float(means[0]), 100 * float(low), 100 * float(high))


@dataclass(frozen=True)
class SummarisedRow:
    """The numbers of a row.

    Args:
        name: heading.
        settings: what the row depends on.
        metrics: for each condition, the estimates by metric: "class mIoU", "mIoU", "class boundary mIoU", "boundary
            mIoU".
        by_class: for each condition, the mean IoU of each class by name, percent.
        by_size: for each condition, the mean IoU of each range of SIZES, percent; NaN for a range without objects.
    """

    name: str
    settings: dict[str, Any]
    metrics: dict[Condition, dict[str, Estimate]]
    by_class: dict[Condition, dict[str, float]]
    by_size: dict[Condition, list[float]]


def summarise(rows: Sequence[MeasuredRow], sample: Sample, resamples: int = RESAMPLES) -> list[SummarisedRow]:
    """Compute the numbers of the table.

    Args:
        rows: measured on the sample.
        sample: the objects.
        resamples: draws of the bootstrap.

    Returns:
        A row for each.
    """
    objects, names = sample.objects, sample.class_names
    images = np.array([i for i, image in enumerate(sample.images) for _ in image.objects], int)
    labels = np.array([one.label for one in objects], int)
    in_size = _sizes(sample)
    bootstrap = Bootstrap(images, labels, sample.totals, resamples, sample.seed)
    summarised = []
    for row in rows:
        metrics, by_class, by_size = {}, {}, {}
        for condition, values in row.iou.items():
            means = [*bootstrap.means(values[:, 0]), *bootstrap.means(values[:, 1])]
            metrics[condition] = dict(zip(_METRICS, means))
            by_class[condition] = {names[k]: 100 * float(values[labels == k, 0].mean()) for k in np.unique(labels)}
            by_size[condition] = [100 * float(values[m, 0].mean()) if m.any() else float("nan") for m in in_size]
        summarised.append(SummarisedRow(row.name, row.settings, metrics, by_class, by_size))
    return summarised


def _sizes(sample: Sample) -> list[np.ndarray]:
    longer = np.array([one.sides[1] for one in sample.objects])
    return [(longer >= low) & (longer < high) for low, high in SIZES]


def write_gain(rows: Sequence[SummarisedRow], sample: Sample, folder: Path, made: dict[str, Any], command: str) -> None:
    """Write gain.md and gain.json.

    Args:
        rows: the output of `summarise`.
        sample: the objects.
        folder: folder for the files.
        made: the output of `describe_machine`.
        command: the command that makes the table.
    """
    with atomic_write(folder / "gain.md") as file:
        file.write(gain_markdown(rows, sample, made, command))
    content = {
        "dataset": sample.dataset,
        "objects": len(sample.objects),
        "objects of the dataset": sum(sample.totals.values()),
        "images": len(sample.images),
        "seed": sample.seed,
        "boundary": {"ratio": BOUNDARY_RATIO, "objects narrower than two distances": sample.narrow},
        "command": command,
        "made": made,
        "rows": [
            {
                "name": row.name,
                "settings": row.settings,
                "conditions": {
                    str(condition): {
                        **{name: [one.value, one.low, one.high] for name, one in metrics.items()},
                        "by class": row.by_class[condition],
                        "by size": dict(zip(map(_size_title, SIZES), row.by_size[condition])),
                    }
                    for condition, metrics in row.metrics.items()
                },
            }
            for row in rows
        ],
    }
    with atomic_write(folder / "gain.json") as file:
        json.dump(plain(content), file, indent=1)


def gain_markdown(rows: Sequence[SummarisedRow], sample: Sample, made: dict[str, Any], command: str) -> str:
    """Format the table as Markdown.

    Args:
        rows, sample, made, command: as in `write_gain`.

    Returns:
        The text.
    """
    count, total = len(sample.objects), sum(sample.totals.values())
    chosen = "all of them" if count == total else f"of {total:,}, in equal shares of the classes, seed {sample.seed}"
    lines = [
        f"# What the model adds: {sample.dataset}",
        "",
        f"{count:,} objects ({chosen}) in {len(sample.images):,} images. IoU in percent, with 95 % bootstrap intervals "
        f"over images ({RESAMPLES:,} draws). Jitter moves each side of a prompt by up to that fraction of its extent; "
        "all rows get the same prompts. Instance means weight the classes as the whole dataset has them.",
        "",
        f"Boundary IoU has a ratio of {BOUNDARY_RATIO:g}. For {sample.narrow:,} of the {count:,} objects its distance "
        "exceeds half their short side: there it is the IoU of the whole masks.",
    ]
    for kind in KINDS:
        lines += ["", f"## {kind.capitalize()} prompts"]
        for metric in _METRICS:
            grid = [[f"{_TITLES[metric]}, jitter", *(f"{100 * jitter:g} %" for jitter in JITTERS)]]
            for row in rows:
                cells = [row.metrics.get(Condition(kind, jitter), {}).get(metric) for jitter in JITTERS]
                grid.append([row.name, *map(_interval, cells)])
            lines += ["", *_table(grid)]
    lines += [
        "",
        "## By size",
        "",
        "Mean IoU over the measured objects, by the longer side of the rectangle around each.",
    ]
    counts = [int(mask.sum()) for mask in _sizes(sample)]
    for kind in KINDS:
        for jitter in _BY_SIZE:
            condition = Condition(kind, jitter)
            grid = [[f"{kind}, jitter {100 * jitter:g} %", *map(_size_title, SIZES)], ["objects", *map(str, counts)]]
            grid += [
                [row.name, *(_number(value) for value in row.by_size.get(condition, [float("nan")] * len(SIZES)))]
                for row in rows
            ]
            lines += ["", *_table(grid)]
    lines += ["", "## By class", ""]
    names = list(next(iter(rows[0].by_class.values()))) if rows and rows[0].by_class else []
    for condition in CONDITIONS:
        if condition.jitter in _BY_SIZE:
            grid = [[f"{condition.kind}, jitter {100 * condition.jitter:g} %", *names]]
            empty = dict.fromkeys(names, float("nan"))
            grid += [[row.name, *(_number(row.by_class.get(condition, empty)[n]) for n in names)] for row in rows]
            lines += [*_table(grid), ""]
    lines += [
        f"- command: `{command}`",
        f"- written: {made['date']}, commit {made['commit']}, {made['gpu'] or made['cpu']}, torch {made['torch']}",
    ]
    return "\n".join(lines) + "\n"


def _size_title(bounds: tuple[float, float]) -> str:
    low, high = bounds
    return f"{low:g} px and more" if np.isinf(high) else f"{low:g} to {high:g} px" if low else f"under {high:g} px"


def _interval(one: Estimate | None) -> str:
    return "-" if one is None else f"{one.value:.1f} ({one.low:.1f} to {one.high:.1f})"


def _number(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.1f}"


def _table(grid: list[list[str]]) -> list[str]:
    rows = ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in grid]
    return [rows[0], "|" + "---|" * len(grid[0]), *rows[1:]]
