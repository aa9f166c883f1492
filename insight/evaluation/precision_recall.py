"""Precision-recall curves per class and over all classes, as numbers and pictures."""

import os

import numpy as np

from insight.visualization.figures import plot_text, png_figure

from .coco import precision_table

RECALLS = np.linspace(0, 1, 101)
ALL = "all classes"


def precision_recall(truth: dict, detections: list[dict], task: str, max_dets: int = 100) -> dict[str, dict]:
    """Compute COCO's interpolated precision: the highest at this recall or more, 0 where it is not reached.

    Args:
        truth: COCO dictionary.
        detections: COCO detections; may be empty.
        task: "bbox", "segm" or "boundary".
        max_dets: detections per image and class that count.

    Returns:
        By class name in order of category id, then for ALL (the mean of the classes), {"IoU 0.50", "IoU 0.75", "IoU
        0.50 to 0.95" (the mean): (101,) precision from 0 to 1 at RECALLS}; classes without ground truth are left out.
    """
    table = precision_table(truth, detections, task, [max_dets])[:, :, :, 0, 0]
    names = [c["name"] for c in sorted(truth["categories"], key=lambda c: c["id"])]
    tables = {name: table[:, :, k] for k, name in enumerate(names) if (table[:, :, k] > -1).all()}
    if tables:
        tables[ALL] = np.mean(list(tables.values()), axis=0)
    return {
        name: {"IoU 0.50": one[0], "IoU 0.75": one[5], "IoU 0.50 to 0.95": one.mean(axis=0)}
        for name, one in tables.items()
    }


def draw_precision_recall(curves: dict[str, np.ndarray], title: str, output: str | os.PathLike) -> None:
    """Draw curves to a PNG file; the legend gives the AP of each.

    Args:
        curves: (101,) precision at RECALLS, by label.
        title: title of the picture.
        output: the PNG file.
    """
    with png_figure(output, (7.6, 4.4)) as figure:
        figure.suptitle(title, x=0.02, horizontalalignment="left", fontsize="medium")
        axes = figure.subplots()
        for i, (label, precision) in enumerate(curves.items()):
            style = {"linestyle": ("-", "--", ":")[i // 10 % 3]}  # matplotlib has ten colours
            if label == ALL:
                style = {"color": "black", "linewidth": 2}
            axes.plot(RECALLS, precision, label=f"{plot_text(label)}: AP {100 * precision.mean():.1f}", **style)
        axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
        axes.grid(alpha=0.3)
        figure.legend(loc="outside right center", fontsize="small")
