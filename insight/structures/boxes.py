"""Validation and conversion of horizontal boxes."""

import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from insight.errors import InputError

from .prompt_inputs import box_values, to_numbers

REACH = 100  # a box may extend beyond the image by this many times its longer side; cost grows with a box's area
MEANING = "x1, y1, x2, y2"
_NORMALIZED = (
    "expected pixels, got coordinates from 0 to 1 alone; if they are shares of the image's sides, multiply x by its "
    "width and y by its height"
)

_logger = logging.getLogger(__name__)


def validate_boxes(boxes, image_size: tuple[int, int] | None, name: str = "boxes") -> Tensor:
    """Validate boxes from a caller or a file.

    A box may extend beyond the image; the part outside counts as padding.

    Args:
        boxes: (N, 4) XYXY in pixels of the image, or one box (4,), in any form that `box_values` and `to_numbers`
            accept. N may be 0.
        image_size: (height, width) of the image in pixels; None if it is not known yet.
        name: the argument's name, for error messages.

    Returns:
        (N, 4) float32 on the CPU.

    Raises:
        InputError: another shape, or a box with a NaN or infinite coordinate, inverted edges, no area, entirely outside
            the image, or with an edge farther from it than `REACH` times its longer side. The message names the
            first such box.
    """
    boxes = _to_table(boxes, name)
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


def refuse_normalized(coordinates, name: str) -> None:
    """Refuse normalised coordinates, which as pixels would all lie in the image's first one.

    Args:
        coordinates: tensor or array of any shape, x and y of all prompts in pixels.
        name: the argument's name, for the error message.

    Raises:
        InputError: all coordinates lie between 0 and 1.
    """
    if _look_normalized(coordinates):
        raise InputError(f"{name}: {_NORMALIZED}")


def warn_of_normalized(coordinates, name: str) -> None:
    """Warn of normalised coordinates; for callers who may mean the image's first pixel.

    Args:
        coordinates, name: as in `refuse_normalized`.
    """
    if _look_normalized(coordinates):
        _logger.warning(f"{name}: {_NORMALIZED}")


def _look_normalized(coordinates) -> bool:
    return bool(coordinates.shape[0] and coordinates.min() >= 0 and coordinates.max() <= 1)


def touches_image(box: Sequence[float], image_size: tuple[int, int]) -> bool:
    """Return whether a box overlaps an image.

    Args:
        box: XYXY, pixels of the image.
        image_size: (height, width) of the image in pixels.

    Returns:
        True if the box overlaps the image; False if they share at most an edge.
    """
    x1, y1, x2, y2 = box
    height, width = image_size
    return bool(x2 > 0 and y2 > 0 and x1 < width and y1 < height)


def jitter_boxes(boxes: Tensor, jitter: float, generator: torch.Generator | None = None) -> Tensor:
    """Shift every edge at random, as in a loosely drawn box.

    Args:
        boxes: (N, 4) XYXY, pixels.
        jitter: largest shift of an edge, as a fraction of the box's side along it; below 0.5, so that no box inverts.
        generator: source of randomness; None for torch's default generator.

    Returns:
        (N, 4) XYXY, pixels; may leave the image.
    """
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    sides = torch.stack([width, height, width, height], dim=1)
    return boxes + (torch.rand(boxes.shape, generator=generator, device=boxes.device) * 2 - 1) * jitter * sides


def _to_table(boxes, name: str) -> Tensor:
    """Boxes in any form as (N, 4) finite float32 on the CPU."""
    table = to_numbers(box_values(boxes), name, f"(N, 4) numbers ({MEANING})")
    if table.shape == (4,):
        table = table[None]
    if table.numel() == 0 and len(table) == 0:
        table = table.reshape(0, 4)
    if table.ndim != 2 or table.shape[1] != 4:
        hint = "; pass oriented boxes as oriented_boxes" if table.shape[1:] in ((5,), (8,), (4, 2)) else ""
        raise InputError(f"{name}: expected shape (N, 4) ({MEANING}), got {tuple(table.shape)}{hint}")
    refuse_rows(table, ~table.isfinite().all(dim=1), name, "has a coordinate that is not finite")
    return table


def refuse_rows(table: Tensor, bad: Tensor, name: str, reason: str) -> None:
    """Raise an error that names the first bad row of a table.

    Args:
        table: (N, ...) numbers.
        bad: (N,) bool.
        name: the argument's name.
        reason: what is wrong, as the rest of a sentence.

    Raises:
        InputError: any row is bad.
    """
    if bad.any():
        index = int(bad.nonzero()[0])
        values = [round(value, 3) for value in table[index].flatten().tolist()]
        raise InputError(f"{name}[{index}] = {values} {reason}")
