"""Shapes of CVAT: which boxes have no mask yet, and the shapes that masks become. Needs the extra `cvat`."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from insight.structures.polygons import mask_rings
from insight.structures.rle import decode_crop, rle_box

SHAPES = ("mask", "polygon")
_TOLERANCE = 0.75  # pixels by which outlines may move, so that a person can move their corners


@dataclass(frozen=True)
class CVATBox:
    """A rectangle of a task.

    Attributes:
        shape: the SDK's LabeledShape.
        corners: (4, 2) float64 XY in pixels, clockwise on the screen.
        rotated: its rotation is not zero.
    """

    shape: Any
    corners: np.ndarray
    rotated: bool

    @property
    def place(self) -> tuple[Any, ...]:
        """All that its mask depends on; a box that a person has changed meanwhile has another."""
        shape = self.shape
        return shape.id, shape.frame, shape.label_id, tuple(shape.points), _rotation(shape)


def read_box(shape: Any) -> CVATBox:
    """Read a rectangle: `points` are two corners of it before it was rotated around its centre, clockwise in degrees.

    Args:
        shape: a LabeledShape of type "rectangle".
    """
    x1, y1, x2, y2 = shape.points
    (x1, x2), (y1, y2) = sorted((x1, x2)), sorted((y1, y2))
    corners, centre = np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]]), np.array([(x1 + x2) / 2, (y1 + y2) / 2])
    angle = _rotation(shape)
    if angle:
        cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        corners = (corners - centre) @ np.array([[cos, sin], [-sin, cos]]) + centre  # y points down
    return CVATBox(shape, corners, bool(angle))


def boxes_without_mask(shapes: Sequence[Any], label_ids: Iterable[int]) -> list[CVATBox]:
    """Select the rectangles that have no mask or polygon yet.

    A box and its mask are in one group. Where a person has grouped several boxes of a label, each mask of the group
    belongs to the box that it overlaps most.

    Args:
        shapes: LabeledShapes of a job.
        label_ids: labels of the rectangles to select.

    Returns:
        The rectangles in their order.
    """
    wanted = set(label_ids)
    boxes = [read_box(shape) for shape in shapes if _kind(shape) == "rectangle" and shape.label_id in wanted]
    members: dict[tuple, list[CVATBox]] = {}
    for box in boxes:
        members.setdefault(_object(box.shape), []).append(box)
    done = set()
    for shape in shapes:
        group = members.get(_object(shape), []) if _kind(shape) in SHAPES and group_of(shape) else []
        if group:
            bounds = _bounds(shape)
            done.add(id(max(group, key=lambda box: _overlap(box.corners, bounds))))
    return [box for box in boxes if id(box) not in done]


def mask_shapes(code: dict[str, Any], score: float, box: Any, group: int, kind: str) -> list[Any]:
    """Make the shapes of a mask, with the label, the attributes and the order of its box.

    Args:
        code: the mask as COCO RLE.
        score: predicted IoU.
        box: LabeledShape of its box.
        group: group of both.
        kind: "mask", or "polygon" for one polygon for each part, without holes.

    Returns:
        LabeledShapeRequests; none for an empty mask.
    """
    from cvat_sdk import masks, models

    x, y, width, height = rle_box(code)
    if not width or not height:
        return []
    crop = decode_crop(code, (x, y, x + width, y + height)).astype(bool)
    if kind == "mask":
        *runs, x1, y1, x2, y2 = masks.encode_mask(crop, (0, 0, width, height))
        points = [[*runs, x1 + x, y1 + y, x2 + x, y2 + y]]
    else:
        points = [_simplified(ring).ravel().tolist() for ring in mask_rings(crop, (x, y))[0]]
    attributes = [models.AttributeValRequest(spec_id=one.spec_id, value=one.value) for one in box.attributes]
    return [
        models.LabeledShapeRequest(
            type=models.ShapeType(kind),
            label_id=box.label_id,
            frame=box.frame,
            points=[float(value) for value in one],
            occluded=box.occluded,
            z_order=box.z_order,
            group=group,
            source="semi-auto",
            score=min(max(float(score), 0.0), 1.0),
            attributes=attributes,
        )
        for one in points
    ]


def grouped(box: Any, group: int) -> Any:
    """Return a box as it is, but in a group: a LabeledShapeRequest."""
    from cvat_sdk import models

    return models.LabeledShapeRequest(**{**box.to_dict(), "group": group})


def group_of(shape: Any) -> int:
    """Return the group of a shape, tag or track; 0 for none."""
    return shape.group or 0


def _kind(shape: Any) -> str:
    return str(shape.type.value)


def _rotation(shape: Any) -> float:
    return float(getattr(shape, "rotation", 0.0) or 0.0) % 360


def _object(shape: Any) -> tuple[int, int, int]:
    return shape.frame, shape.label_id, group_of(shape)


def _bounds(shape: Any) -> np.ndarray:
    """(2, 2): the lowest and highest XY of a mask or polygon."""
    if _kind(shape) == "mask":
        return np.array(shape.points[-4:]).reshape(2, 2) + [[0, 0], [1, 1]]
    points = np.array(shape.points).reshape(-1, 2)
    return np.array([points.min(0), points.max(0)])


def _overlap(corners: np.ndarray, bounds: np.ndarray) -> float:
    """IoU of the rectangle around corners and another."""
    low, high = corners.min(0), corners.max(0)
    shared = np.clip(np.minimum(high, bounds[1]) - np.maximum(low, bounds[0]), 0, None).prod()
    return float(shared / max((high - low).prod() + (bounds[1] - bounds[0]).prod() - shared, 1e-9))


def _simplified(ring: np.ndarray) -> np.ndarray:
    origin = ring.min(0)  # float32, which OpenCV computes in, has few digits far from it
    short = cv2.approxPolyDP((ring - origin).astype(np.float32)[:, None], _TOLERANCE, closed=True)[:, 0]
    return short.astype(float) + origin if len(short) >= 3 else ring.astype(float)
