"""Precision-recall curves and error breakdown of detections, written to a folder."""

import json
import logging
import os
import re
from collections.abc import Sequence
from pathlib import Path

from insight.data.formats.coco import read_coco
from insight.data.formats.decoding import without_undecodable
from insight.data.formats.file_check import SKIP_HINT, FileCheck
from insight.errors import InputError
from insight.runtime.atomic_files import atomic_write

from .coco import LARGEST_MAX_DETS
from .detections import read_detections
from .error_breakdown import BACKGROUND, FOREGROUND, ErrorBreakdown, error_breakdown
from .error_report import breakdown_as_json, breakdown_as_markdown, draw_breakdown
from .precision_recall import draw_precision_recall, precision_recall

_logger = logging.getLogger(__name__)
_NAMES = {"bbox": "Boxes", "segm": "Masks"}


def analyse(
    predictions: str | os.PathLike,
    annotations: str | os.PathLike,
    output: str | os.PathLike,
    max_dets: int = 100,
    *,
    classes: Sequence[str] | None = None,
    images: str | os.PathLike | None = None,
    skip_bad: bool = False,
) -> dict[str, ErrorBreakdown]:
    """Draw precision-recall curves of boxes and masks, and break their errors down by cause.

    Writes, in `output`/bbox and `output`/segm: precision_recall.png (the classes at IoU 0.5),
    precision_recall/ID_CLASS.png and precision_recall/all_classes.png (at several thresholds), errors.json, errors.md
    and errors.png.

    Args:
        predictions: file of detections, as `read_detections` takes it.
        annotations: COCO file of the ground truth.
        output: the folder.
        max_dets: detections per image and class that count.
        classes: names of the classes to evaluate; None for all.
        images: folder of the ground truth's images, to check that they exist; with `skip_bad`, all are decoded. None
            checks nothing.
        skip_bad: leave out bad images and annotations instead of raising, and the detections on such images, as
            evaluation does with DATASETS.BAD skip.

    Returns:
        The error breakdowns of "bbox" and "segm", or of the only one that all detections and annotations have.

    Raises:
        InputError: a file is malformed, there is no instance, or neither boxes nor masks can be compared.
        OSError: a file cannot be read or written.
    """
    if not 1 <= max_dets <= LARGEST_MAX_DETS:
        raise InputError(f"max_dets: expected an integer from 1 to {LARGEST_MAX_DETS}, got {max_dets}")
    if images is not None and not Path(images).is_dir():
        raise InputError(f"images: {images}: no such folder")
    check = FileCheck(Path(annotations), not skip_bad, SKIP_HINT)
    truth = read_coco(check.path, images, classes, check)
    if skip_bad and images is not None:
        truth = without_undecodable(truth, Path(images), check)
    if check.problems:
        _logger.warning(check.summary())
    if all(a.get("iscrowd", 0) for a in truth["annotations"]):
        raise InputError(f"{annotations}: expected at least one annotation to compare detections with, got none")
    detections = read_detections(Path(predictions), truth, partial=skip_bad or classes is not None)
    if not detections:
        _logger.warning(f"{predictions}: has no detections")
    breakdowns = {}
    for task, key in (("bbox", "bbox"), ("segm", "segmentation")):
        lacking = {
            str(predictions): sum(not d.get(key) for d in detections),
            str(annotations): sum(not a.get(key) for a in truth["annotations"]),
        }
        lines = [f"{count} entries of {path} have no {key}" for path, count in lacking.items() if count]
        if lines:
            _logger.warning(f"{_NAMES[task]} are not analysed: {' and '.join(lines)}")
            continue
        breakdowns[task] = _analyse_task(truth, detections, task, Path(output, task), max_dets)
    if not breakdowns:
        raise InputError(f"{predictions} and {annotations}: neither boxes nor masks can be compared; {lines[0]}")
    return breakdowns


def _analyse_task(truth: dict, detections: list[dict], task: str, folder: Path, max_dets: int) -> ErrorBreakdown:
    title = f"{_NAMES[task]}, at most {max_dets} detections per image and class"
    curves = precision_recall(truth, detections, task, max_dets)
    by_class = {name: curve["IoU 0.50"] for name, curve in curves.items()}
    draw_precision_recall(by_class, f"{title}, IoU 0.50", folder / "precision_recall.png")
    ids = {category["name"]: f"{category['id']}_" for category in truth["categories"]}
    for name, curve in curves.items():
        file_name = ids.get(name, "") + re.sub(r"[^\w-]+", "_", name) + ".png"
        draw_precision_recall(curve, f"{title}: {name}", folder / "precision_recall" / file_name)

    breakdown = error_breakdown(truth, detections, task, max_dets)
    settings = {"task": task, "max_dets": max_dets, "foreground_iou": FOREGROUND, "background_iou": BACKGROUND}
    with atomic_write(folder / "errors.json") as file:
        json.dump({**settings, **breakdown_as_json(breakdown)}, file, indent=1)
    with atomic_write(folder / "errors.md") as file:
        file.write(breakdown_as_markdown(breakdown, title))
    draw_breakdown(breakdown, title, folder / "errors.png")
    return breakdown
