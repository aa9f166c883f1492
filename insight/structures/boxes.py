"""Checking and converting boxes that people give."""

from collections.abc import Sequence

import torch
from torch import Tensor

REACH = 100  # a box may leave the image by so many times its longer side; the cost of a box grows with its area


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
            area, wholly outside the image, or with an edge farther from it than `REACH` times its longer side; names
            the first such box and its value.
    """
    boxes = _as_table(boxes, 4, name, "x1, y1, x2, y2")
    x1, y1, x2, y2 = boxes.unbind(1)
    refuse_rows(boxes, (x2 < x1) | (y2 < y1), name, "is inverted: expected x1 < x2 and y1 < y2")
    refuse_rows(boxes, (x2 == x1) | (y2 == y1), name, "has no area: expected x1 < x2 and y1 < y2")
    if image_size is not None:
        height, width = image_size
        outside = (x2 <= 0) | (y2 <= 0) | (x1 >= width) | (y1 >= height)
        refuse_rows(boxes, outside, name, f"lies outside the image, which is {width} x {height} pixels")
        reach = REACH * max(height, width)
        far = (boxes.amin(1) < -reach) | (x2 > width + reach) | (y2 > height + reach)
        size = f"{width} x {height} pixels"
        refuse_rows(boxes, far, name, f"reaches farther than {reach} pixels beyond the image, which is {size}")
    return boxes


def touches_image(box: Sequence[float], image_size: tuple[int, int]) -> bool:
    """Whether a box is at least in part inside an image.

    Args:
        box: XYXY, pixels of the image.
        image_size: (height, width) of the image in pixels.

    Returns:
        False if they share at most an edge.
    """
    x1, y1, x2, y2 = box
    height, width = image_size
    return bool(x2 > 0 and y2 > 0 and x1 < width and y1 < height)


def jitter_boxes(boxes: Tensor, jitter: float, generator: torch.Generator | None = None) -> Tensor:
    """Shift every edge at random, as if a person had drawn the box.

    Args:
        boxes: (N, 4) XYXY, pixels.
        jitter: largest shift of an edge as a fraction of the box's side along it; below 0.5, so that no box inverts.
        generator: of the draws; None is torch's default one.

    Returns:
        (N, 4) XYXY, pixels; may leave the image.
    """
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    sides = torch.stack([width, height, width, height], dim=1)
    return boxes + (torch.rand(boxes.shape, generator=generator, device=boxes.device) * 2 - 1) * jitter * sides


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
    refuse_rows(table, ~table.isfinite().all(dim=1), name, "has a coordinate that is no finite number")
    return table


def refuse_rows(table: Tensor, bad: Tensor, name: str, reason: str) -> None:
    """Raise an error about the first bad row of a table of boxes, if there is one.

    Args:
        table: (N, ...) what was given.
        bad: (N,) bool.
        name: what to call the table.
        reason: what is wrong, as the rest of a sentence.

    Raises:
        ValueError: where any row is bad.
    """
    if bad.any():
        index = int(bad.nonzero()[0])
        values = [round(value, 3) for value in table[index].flatten().tolist()]
        raise ValueError(f"{name}[{index}] = {values} {reason}")
