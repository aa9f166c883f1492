"""Checking and converting boxes that people give."""

import math

import torch
from torch import Tensor


def validate_boxes(boxes, image_size: tuple[int, int] | None, name: str = "boxes") -> Tensor:
    """Check boxes that a person or a file gave.

    A box that leaves the image in part is kept as it is: what is outside counts as padding.

    Args:
        boxes: (N, 4), XYXY in pixels of the image; tensor, array or nested list of numbers. N may be 0.
        image_size: (height, width) of the image in pixels; None where it is not known yet.
        name: what to call them in an error.

    Returns:
        (N, 4) float32 on the CPU.

    Raises:
        ValueError: for another shape, or a box with a NaN or infinite coordinate, an edge before its opposite, no
            area, or wholly outside the image; names the first such box and its value.
    """
    boxes = _as_table(boxes, 4, name, "x1, y1, x2, y2")
    x1, y1, x2, y2 = boxes.unbind(1)
    _refuse(boxes, (x2 < x1) | (y2 < y1), name, "is inverted: expected x1 < x2 and y1 < y2")
    _refuse(boxes, (x2 == x1) | (y2 == y1), name, "has no area: expected x1 < x2 and y1 < y2")
    if image_size is not None:
        height, width = image_size
        outside = (x2 <= 0) | (y2 <= 0) | (x1 >= width) | (y1 >= height)
        _refuse(boxes, outside, name, f"lies outside the image, which is {width} x {height} pixels")
    return boxes


def enclosing_boxes(oriented_boxes, name: str = "oriented_boxes") -> Tensor:
    """The smallest horizontal box around each oriented box.

    Args:
        oriented_boxes: (N, 5): centre x, centre y, width, height in pixels, angle in degrees (either
            sense: both turn into the same enclosing box).
        name: what to call them in an error.

    Returns:
        (N, 4) float32, XYXY in pixels.

    Raises:
        ValueError: for another shape, or a box with a NaN or infinite number, or a side that is not above zero.
    """
    oriented = _as_table(oriented_boxes, 5, name, "cx, cy, width, height, angle")
    cx, cy, w, h, angle = oriented.unbind(1)
    _refuse(oriented, (w <= 0) | (h <= 0), name, "has no area: expected width > 0 and height > 0")
    cos, sin = torch.cos(angle * (math.pi / 180)).abs(), torch.sin(angle * (math.pi / 180)).abs()
    half_width, half_height = (w * cos + h * sin) / 2, (w * sin + h * cos) / 2
    return torch.stack([cx - half_width, cy - half_height, cx + half_width, cy + half_height], dim=1)


def _as_table(values, columns: int, name: str, meaning: str) -> Tensor:
    """`values` as (N, columns) finite float32 on the CPU."""
    try:
        table = torch.as_tensor(values, dtype=torch.float32, device="cpu").detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name}: expected (N, {columns}) numbers ({meaning}), got {values!r:.80}") from error
    if table.numel() == 0:
        table = table.reshape(0, columns)
    if table.ndim != 2 or table.shape[1] != columns:
        raise ValueError(f"{name}: expected shape (N, {columns}) ({meaning}), got {tuple(table.shape)}")
    _refuse(table, ~table.isfinite().all(dim=1), name, "has a coordinate that is no finite number")
    return table


def _refuse(table: Tensor, bad: Tensor, name: str, reason: str) -> None:
    if bad.any():
        index = int(bad.nonzero()[0])
        raise ValueError(f"{name}[{index}] = {[round(v, 3) for v in table[index].tolist()]} {reason}")
