"""Rotation in COCO files, which each annotation tool stores in its own way."""

import math
from collections.abc import Sequence

import numpy as np

from .file_check import numbers

_RIGHT_ANGLE = 0.05  # largest cosine of a corner that still counts as a right angle; labels are rounded to pixels


def with_oriented_boxes(annotations: list) -> list:
    """Convert the rotation of annotations to "oriented_box".

    An annotation gets "oriented_box", [centre x, centre y, width, height, angle in degrees counter-clockwise] or
    corners, and as "bbox" the horizontal box around it, [x, y, width, height], from

    - "bbox" of five numbers: Detectron2's BoxMode.XYWHA_ABS (`bbox_mode` 4), which is the form above;
    - CVAT: "attributes": {"rotation": degrees clockwise around the centre of "bbox"}, of annotations without mask, if
      any in the file is rotated;
    - Roboflow: a segmentation of one ring of four corners, if that of every annotation is a rectangle and any is
      rotated.

    Annotations that have an "oriented_box" are not changed, nor are malformed ones.

    Args:
        annotations: unchecked annotations of a COCO file.

    Returns:
        The annotations, or copies.
    """
    plain = [a for a in annotations if isinstance(a, dict) and "oriented_box" not in a]
    rotated = any(_rotation(a) for a in plain)
    rings = [_rectangle(a) for a in plain]
    rectangles = bool(rings) and all(ring is not None for ring in rings) and any(_is_rotated(ring) for ring in rings)
    return [_with_oriented_box(a, rotated, rectangles) if isinstance(a, dict) else a for a in annotations]


def _with_oriented_box(annotation: dict, rotated: bool, rectangles: bool) -> dict:
    if "oriented_box" in annotation:
        return annotation
    box = annotation.get("bbox")
    if numbers(box, 5) and len(box) == 5:
        return {**annotation, "bbox": _around(box), "oriented_box": list(box)}
    angle = _rotation(annotation)
    if rotated and angle is not None and numbers(box, 4) and len(box) == 4:
        x, y, width, height = box
        oriented = [x + width / 2, y + height / 2, width, height, -angle]
        return {**annotation, "bbox": _around(oriented), "oriented_box": oriented}
    if rectangles:
        return {**annotation, "oriented_box": _rectangle(annotation).ravel().tolist()}
    return annotation


def _rotation(annotation: dict) -> float | None:
    """CVAT's rotation, 0 to 360 degrees; None without one, and of masks, whose boxes are around them."""
    attributes = annotation.get("attributes")
    angle = attributes.get("rotation") if isinstance(attributes, dict) else None
    return angle % 360 if numbers([angle], 1) and not annotation.get("segmentation") else None


def _rectangle(annotation: dict) -> np.ndarray | None:
    """(4, 2) corners of a segmentation that is one ring with four right angles, closed or not."""
    rings = annotation.get("segmentation")
    if not isinstance(rings, list) or len(rings) != 1 or not numbers(rings[0], 8) or len(rings[0]) not in (8, 10):
        return None
    ring = np.array(rings[0], float).reshape(-1, 2)
    if len(ring) == 5 and (ring[0] != ring[4]).any():
        return None
    sides = np.roll(ring[:4], -1, 0) - ring[:4]
    lengths = np.linalg.norm(sides, axis=1)
    if not lengths.all():
        return None
    cosines = (sides * np.roll(sides, -1, 0)).sum(1) / (lengths * np.roll(lengths, -1))
    return ring[:4] if (np.abs(cosines) <= _RIGHT_ANGLE).all() else None


def _is_rotated(corners: np.ndarray) -> bool:
    """Whether no side is horizontal, nearly."""
    sides = np.abs(corners[1] - corners[0])
    return min(sides) > _RIGHT_ANGLE * max(sides)


def _around(box: Sequence[float]) -> list[float]:
    """The horizontal box around an oriented one, [x, y, width, height]."""
    x, y, width, height, angle = box
    cos, sin = abs(math.cos(math.radians(angle))), abs(math.sin(math.radians(angle)))
    around = width * cos + height * sin, width * sin + height * cos
    return [x - around[0] / 2, y - around[1] / 2, *around]
