"""Checking points that people give."""

import torch
from torch import Tensor

from .boxes import refuse_rows

NOT_A_POINT, BACKGROUND, FOREGROUND = -1, 0, 1  # labels


def validate_points(points, labels, image_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Check point prompts that a person gave.

    Args:
        points: (N, P, 2) XY in pixels of the image, P points for each of N objects; tensor, array or nested list.
        labels: (N, P): 1 for a point on the object, 0 for one beside it, -1 to fill up rows with fewer points.
        image_size: (height, width) of the image in pixels.

    Returns:
        Points (N, P, 2) float32 and labels (N, P) int64, on the CPU.

    Raises:
        ValueError: for another shape, another label, or a point that is not finite or lies outside the image; names
            the first object with such a point.
    """
    points = _as_tensor(points, torch.float32, "points", "(N, P, 2) numbers (x, y)")
    if points.numel() == 0:
        points = points.reshape(0, 1, 2)
    if points.ndim != 3 or points.shape[2] != 2:
        raise ValueError(f"points: expected shape (N, P, 2), P points an object, got {tuple(points.shape)}")
    if labels is None:
        raise ValueError("labels: expected one for each point (1 on the object, 0 beside it), got none")
    labels = _as_tensor(labels, torch.float64, "labels", "(N, P) whole numbers")
    if labels.numel() == 0:
        labels = labels.reshape(0, 1)
    if labels.shape != points.shape[:2]:
        raise ValueError(f"labels: expected shape {tuple(points.shape[:2])}, one a point, got {tuple(labels.shape)}")
    other = "holds another label than 1 (object), 0 (beside it) and -1 (no point)"
    refuse_rows(labels, (labels != labels.long()).any(1), "labels", other)  # a part of one, or none
    labels = labels.long()
    known = (labels >= NOT_A_POINT) & (labels <= FOREGROUND)
    refuse_rows(labels, ~known.all(1), "labels", other)
    refuse_rows(labels, (labels == NOT_A_POINT).all(1), "labels", "leaves its object without a point")
    height, width = image_size
    x, y = points.unbind(2)
    inside = (x >= 0) & (y >= 0) & (x <= width) & (y <= height)  # false for NaN
    refuse_rows(
        points,
        ~(inside | (labels == NOT_A_POINT)).all(1),
        "points",
        f"has a point outside the image, which is {width} x {height} pixels, or one that is no finite number",
    )
    return points, labels


def _as_tensor(values, dtype: torch.dtype, name: str, meaning: str) -> Tensor:
    try:
        return torch.as_tensor(values, dtype=dtype, device="cpu").detach()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name}: expected {meaning}, got {values!r:.80}") from error
