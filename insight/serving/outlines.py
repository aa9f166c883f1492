"""Outlines of masks as rings, as the page draws and edits them, and back.

A ring is a list of corners x, y in pixels of the image, without the first one again at its end. The rings of an object
are filled by the even-odd rule. Those made of masks run clockwise on the screen around a part, and counter-clockwise
around its holes, which follow their part.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from insight.errors import InputError
from insight.structures.polygons import mask_rings
from insight.structures.rle import decode_crop, encode_crop, masks_to_rle, rle_box

Rings = list[list[Any]]  # of pairs x, y


def mask_outline(code: dict[str, Any], simplify: float = 0.0) -> Rings:
    """Outline a mask along the edges of its pixels.

    Args:
        code: COCO's compressed RLE of the whole image.
        simplify: how far an outline may move to have fewer corners, pixels; 0 keeps every step.

    Returns:
        Rings; none for an empty mask.
    """
    x, y, width, height = rle_box(code)
    if not width:
        return []
    crop = decode_crop(code, (x, y, x + width, y + height))
    _, parts = cv2.connectedComponents(crop.astype(np.uint8), connectivity=4)
    outlines, holes = mask_rings(crop)
    groups: dict[int, list[np.ndarray]] = {}
    for ring in outlines:
        groups.setdefault(_part_beside(ring, parts), []).append(ring)
    for ring in holes:
        groups[_part_beside(ring, parts)].append(ring)
    rings = (_simplified(ring, simplify) for group in groups.values() for ring in group)
    return [(ring + (x, y)).tolist() for ring in rings if len(ring) >= 3]


def rings_to_mask(rings: Rings, size: tuple[int, int]) -> dict[str, Any]:
    """Fill the rings of an object by the even-odd rule.

    Args:
        rings: the rings; they may leave the image.
        size: (height, width) of the image in pixels.

    Returns:
        COCO's compressed RLE: the pixels whose centres are inside.
    """
    height, width = size
    empty = encode_crop(np.zeros((1, 1), bool), (0, 0), size)
    if not rings:
        return empty
    points = np.concatenate([np.asarray(ring, np.float64).reshape(-1, 2) for ring in rings])
    x0, y0 = np.clip(np.floor(points.min(0)), 0, (width, height)).astype(int).tolist()
    x1, y1 = np.clip(np.ceil(points.max(0)), 0, (width, height)).astype(int).tolist()
    if x0 >= x1 or y0 >= y1:
        return empty
    crop = _fill([np.asarray(ring, np.float64).reshape(-1, 2) - (x0, y0) for ring in rings], y1 - y0, x1 - x0)
    return encode_crop(crop, (x0, y0), size)


def coco_segmentation(rings: Rings, size: tuple[int, int]) -> list[list[float]] | dict[str, Any]:
    """Return an object's COCO segmentation: polygons, or an RLE where it has holes.

    Args:
        rings: its rings.
        size: (height, width) of the image in pixels.
    """
    if all(_area(ring) >= 0 for ring in rings) and not _overlap(rings):
        return [[float(value) for point in ring for value in point] for ring in rings]
    return masks_to_rle([rings_to_mask(rings, size)])[0]


def check_rings(rings: Any, most: int, name: str = "polygons") -> None:
    """Check the rings of an object from a client.

    Raises:
        InputError: fewer than three corners, a number that is not finite, or too many corners.
    """
    corners = sum(len(ring) for ring in rings)
    if corners > most:
        raise InputError(f"{name}: expected at most {most} corners, got {corners}")
    for number, ring in enumerate(rings):
        if len(ring) < 3:
            raise InputError(f"{name}[{number}]: expected three corners or more, got {len(ring)}")
        if not np.isfinite(np.asarray(ring, np.float64)).all() or np.abs(ring).max() > 1e7:
            raise InputError(f"{name}[{number}]: expected pixels of the image, got a number that is none")


def _part_beside(ring: np.ndarray, parts: np.ndarray) -> int:
    """The part that a ring bounds: it lies to the right of every step."""
    (x, y), (x2, y2) = ring[0].tolist(), ring[1].tolist()
    if y == y2:
        return int(parts[y, x] if x2 > x else parts[y - 1, x - 1])
    return int(parts[y, x - 1] if y2 > y else parts[y - 1, x])


def _simplified(ring: np.ndarray, tolerance: float) -> np.ndarray:
    if not tolerance:
        return ring
    short = cv2.approxPolyDP(ring.astype(np.float32)[:, None], tolerance, closed=True)[:, 0]
    return short.astype(np.float64) if len(short) >= 3 else ring


def _fill(rings: list[np.ndarray], height: int, width: int) -> np.ndarray:
    """(height, width) bool, by scan lines through the centres of the pixels."""
    inside = np.zeros((height, width + 1), np.int32)
    for ring in rings:
        x, y = ring.T
        x2, y2 = np.roll(x, -1), np.roll(y, -1)
        low, high = np.minimum(y, y2), np.maximum(y, y2)
        first = np.clip(np.ceil(low - 0.5), 0, height).astype(int)  # rows whose centres are in [low, high)
        last = np.clip(np.ceil(high - 0.5), 0, height).astype(int)
        for i in np.flatnonzero(last > first):
            rows = np.arange(first[i], last[i])
            at = x[i] + (rows + 0.5 - y[i]) * (x2[i] - x[i]) / (y2[i] - y[i])
            columns = np.clip(np.ceil(at - 0.5), 0, width).astype(int)
            np.add.at(inside, (rows, columns), 1)
    return (np.cumsum(inside, 1)[:, :width] % 2).astype(bool)


def _area(ring: Sequence[Sequence[float]]) -> float:
    """Positive if it runs clockwise on the screen."""
    x, y = np.asarray(ring, np.float64).T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def _overlap(rings: Rings) -> bool:
    """Whether the boxes of rings overlap, so that one may be in another."""
    boxes = [(*np.min(ring, 0), *np.max(ring, 0)) for ring in rings]
    return any(
        a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for i, a in enumerate(boxes) for b in boxes[:i]
    )
