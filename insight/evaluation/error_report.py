"""Error breakdowns as JSON values, Markdown and pictures."""

import math
import os

import numpy as np
from tabulate import tabulate

from insight.visualization.figures import plot_text, png_figure

from .error_breakdown import ALL_FALSE_POSITIVES, CAUSES, ErrorBreakdown, mean_of_known


def breakdown_as_json(breakdown: ErrorBreakdown) -> dict:
    """Convert a breakdown to JSON values.

    Returns:
        {"all": {"instances", "AP50", "errors": {cause: count}, "AP50 if fixed": {cause: AP}}, "classes": {name: the
        same}}; AP in percent, None where there is no instance.
    """
    everything = {
        "instances": int(breakdown.instances.sum()),
        "AP50": _known(mean_of_known(breakdown.ap)),
        "errors": {cause: int(breakdown.counts[cause].sum()) for cause in CAUSES},
        "AP50 if fixed": {cause: _known(mean_of_known(ap)) for cause, ap in breakdown.fixed.items()},
    }
    classes = {
        name: {
            "instances": int(breakdown.instances[k]),
            "AP50": _known(breakdown.ap[k]),
            "errors": {cause: int(breakdown.counts[cause][k]) for cause in CAUSES},
            "AP50 if fixed": {cause: _known(ap[k]) for cause, ap in breakdown.fixed.items()},
        }
        for k, name in enumerate(breakdown.class_names)
    }
    return {"all": everything, "classes": classes}


def _known(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def breakdown_table(breakdown: ErrorBreakdown) -> str:
    """Format a Markdown table of the errors of each cause, AP50 if they were fixed, and the gain; "-" if undefined."""
    counts = {cause: int(breakdown.counts[cause].sum()) for cause in CAUSES}
    counts[ALL_FALSE_POSITIVES] = sum(counts[cause] for cause in CAUSES if cause != "missed")
    rows = [
        (cause, counts.get(cause, ""), _known(mean_of_known(breakdown.fixed[cause])), _known(breakdown.gain(cause)))
        for cause in breakdown.fixed
    ]
    return _table(rows, ("cause", "errors", "AP50 if fixed", "gain"), ("", "", ".2f", "+.2f"))


def breakdown_as_markdown(breakdown: ErrorBreakdown, title: str) -> str:
    """Format the table of `breakdown_table`, and the errors, AP50 and gains of each class, as Markdown.

    Args:
        breakdown: what to report.
        title: the heading.
    """
    counts, gains = [], []
    for k, name in enumerate(breakdown.class_names):
        counts.append((name, breakdown.instances[k], *(breakdown.counts[cause][k] for cause in CAUSES)))
        gained = (_known(breakdown.fixed[cause][k] - breakdown.ap[k]) for cause in CAUSES)
        gains.append((name, _known(breakdown.ap[k]), *gained))
    return "\n\n".join([
        f"# {title}: AP50 {mean_of_known(breakdown.ap):.2f}",
        breakdown_table(breakdown),
        "## Errors by class",
        tabulate(counts, ("class", "instances", *CAUSES), "github"),
        "## AP50 by class, and its gain if a cause is fixed",
        _table(gains, ("class", "AP50", *CAUSES), ("", ".2f", *["+.2f"] * len(CAUSES))),
    ]) + "\n"  # fmt: skip


def _table(rows, head: tuple[str, ...], formats: tuple[str, ...]) -> str:
    return tabulate(rows, head, "github", floatfmt=formats, missingval="-")


def draw_breakdown(breakdown: ErrorBreakdown, title: str, output: str | os.PathLike) -> None:
    """Draw the cost of each cause and the errors of each class to a PNG file.

    Args:
        breakdown: what to draw.
        title: title of the picture.
        output: the PNG file.
    """
    with png_figure(output, (11, 1.6 + 0.3 * max(len(CAUSES) + 2, len(breakdown.class_names)))) as figure:
        left, right = figure.subplots(1, 2, width_ratios=(2, 3))
        figure.suptitle(plot_text(title))
        causes = list(breakdown.fixed)
        colours = {cause: f"C{i}" for i, cause in enumerate(CAUSES)}
        gains = [breakdown.gain(cause) for cause in causes]
        bars = left.barh(causes, np.nan_to_num(gains), color=[colours.get(cause, "0.6") for cause in causes])
        left.bar_label(bars, ["-" if math.isnan(gain) else f"{gain:.1f}" for gain in gains], padding=2)
        left.margins(x=0.15)
        left.set(xlabel="gain in AP50 if fixed, percentage points")
        left.invert_yaxis()
        names = [plot_text(name) for name in breakdown.class_names]
        start = np.zeros(len(names))
        for cause in CAUSES:
            right.barh(names, breakdown.counts[cause], left=start, color=colours[cause], label=cause)
            start += breakdown.counts[cause]
        right.set(xlabel="errors")
        right.invert_yaxis()
        right.legend(fontsize="small")
