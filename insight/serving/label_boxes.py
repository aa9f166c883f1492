"""The boxes of label files as candidates of the page: a candidate gets its mask when it is looked at or accepted."""

import logging
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch

from insight.annotation.sources import ImageBoxes, Source
from insight.errors import InputError
from insight.structures.oriented_boxes import have_area, oriented_corners

from .coco_content import FROM_ANNOTATE
from .library import Library
from .store import Store

_logger = logging.getLogger(__name__)
_APART = 0.1  # pixels: corners of one box that two files round differently


def import_boxes(source: Source, library: Library, store: Store) -> int:
    """Add the boxes of a source to the store, once for each image.

    Args:
        source: what `insight annotate` would turn into masks.
        library: the images; boxes of others are left out.
        store: gets a candidate without a mask for each box that none of its objects has.

    Returns:
        The number of candidates that were added.
    """
    by_path = {image.path: image for image in library.images}
    names, count = [category["name"] for category in source.categories], 0
    for image in source.images:
        served = by_path.get(image.path.absolute())
        if served is None or not image.count or store.has_imported(f"boxes of {served.id}"):
            continue
        try:
            boxes = source.read(image)
        except (OSError, InputError) as error:
            _logger.warning(f"{image.name}: its boxes cannot be read: {error}")
            continue
        stored = box_corners(store.objects(served.id))
        new = [
            (served.id, content, identifier)
            for content, identifier in _candidates(boxes)
            if not among(box_corners([content])[0], stored)
        ]
        count += store.import_once(f"boxes of {served.id}", new, names)
    return count


def _candidates(boxes: ImageBoxes) -> Iterator[tuple[dict[str, Any], str]]:
    """Fields of objects, and their ids; boxes without area are left out."""
    for i in torch.nonzero(have_area(torch.as_tensor(boxes.corners))).flatten().tolist():
        corners = boxes.corners[i]
        content = {
            "class": boxes.class_names[i],
            "box": None if boxes.oriented[i] else [*map(float, corners.min(0)), *map(float, corners.max(0))],
            "oriented_box": oriented_corners([corners])[0].tolist() if boxes.oriented[i] else None,
            "points": [],
            "labels": [],
            "polygons": [],
            "score": None,
            "source": "prompt",
            "state": "candidate",
        }
        yield content, f"{FROM_ANNOTATE}{boxes.ids[i]}"


def box_corners(objects: Iterable[dict[str, Any]]) -> np.ndarray:
    """Return the corners (N, 4, 2) of the boxes of N objects, infinite for those that have none."""
    return np.array([_corners(one) for one in objects], float).reshape(-1, 4, 2)


def _corners(content: dict[str, Any]) -> Any:
    if content["oriented_box"] is not None:
        return content["oriented_box"]
    x1, y1, x2, y2 = content["box"] or [np.inf] * 4
    return [[x1, y1], [x2, y1], [x2, y2], [x1, y2]]


def among(corners: np.ndarray, others: np.ndarray) -> bool:
    """Return whether one of N boxes (N, 4, 2) has the corners (4, 2), in any order."""
    if not np.isfinite(corners).all():
        return False
    near = np.hypot(*np.moveaxis(corners[:, None] - others[:, None], -1, 0)) < _APART  # (N, 4, 4)
    return bool((near.any(1).all(1) & near.any(2).all(1)).any())
