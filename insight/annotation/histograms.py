"""Histograms of the scores and measurements of masks."""

import os

from insight.visualization.figures import png_figure

from .filters import Filters
from .report import EDGES, Statistics

_BOUNDS = {
    "score": ("min_score",),
    "in_box": ("min_in_box",),
    "area_ratio": ("min_area_ratio", "max_area_ratio"),
    "largest_part": ("min_largest_part",),
}


def draw_histograms(statistics: Statistics, filters: Filters | None, path: str | os.PathLike) -> None:
    """Draw a panel for each measurement, kept masks below dropped ones.

    Args:
        statistics: counts of the masks.
        filters: filters whose bounds are marked, if any.
        path: the PNG file.
    """
    with png_figure(path, (3.6 * len(EDGES), 3.2)) as figure:
        for axes, (name, edges) in zip(figure.subplots(1, len(EDGES)), EDGES.items()):
            counts = statistics.bins[name]
            axes.stairs(counts["kept"], edges, fill=True, color="tab:green", alpha=0.6, label="kept")
            total = counts["kept"] + counts["dropped"]
            axes.stairs(total, edges, baseline=counts["kept"], fill=True, color="tab:red", alpha=0.6, label="dropped")
            for bound in _BOUNDS[name] if filters is not None else ():
                axes.axvline(getattr(filters, bound), color="black", linestyle="--", linewidth=1)
            axes.set(title=name, xlim=(edges[0], edges[-1]))
        figure.axes[0].set_ylabel("masks")
        figure.axes[0].legend()
