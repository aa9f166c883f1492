"""Validation of point prompts."""

import torch
from torch import Tensor

from insight.errors import InputError

from .boxes import refuse_rows
from .prompt_inputs import to_numbers

NOT_A_POINT, BACKGROUND, FOREGROUND = -1, 0, 1  # labels


def validate_points(points, labels, image_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Validate point prompts.

    Args:
        points: (N, P, 2) XY in pixels of the image, P points for each of N objects, or (P, 2) for one object, in any
            form that `to_numbers` accepts.
        labels: (N, P), or (P,) for one object: 1 for foreground, 0 for background, -1 to pad rows that have fewer
            points.
        image_size: (height, width) of the image in pixels.

    Returns:
        Points (N, P, 2) float32 and labels (N, P) int64, on the CPU.

    Raises:
        InputError: another shape, another label, or a point that is not finite or lies outside the image. The message
            names the first object with such a point.
    """
    points = to_numbers(points, "points", "(N, P, 2) numbers (x, y)")
    if labels is None:
        raise InputError("labels: expected one for each point (1 on the object, 0 outside it), got none")
    labels = to_numbers(labels, "labels", "(N, P) integers", torch.float64)
    if points.ndim == 2 and labels.ndim == 1:
        points, labels = points[None], labels[None]
    if points.numel() == 0:
        points = points.reshape(0, 1, 2)
    if points.ndim != 3 or points.shape[2] != 2:
        raise InputError(f"points: expected shape (N, P, 2), P points for each object, got {tuple(points.shape)}")
    if labels.numel() == 0:
        labels = labels.reshape(0, 1)
    if labels.shape != points.shape[:2]:
        raise InputError(f"labels: expected shape {tuple(points.shape[:2])}, one per point, got {tuple(labels.shape)}")
    other = "has a label other than 1 (on the object), 0 (outside it) and -1 (no point)"
    refuse_rows(labels, (labels != labels.long()).any(1), "labels", other)  # fractions and NaN
    labels = labels.long()
    known = (labels >= NOT_A_POINT) & (labels <= FOREGROUND)
    refuse_rows(labels, ~known.all(1), "labels", other)
    refuse_rows(labels, (labels == NOT_A_POINT).all(1), "labels", "has no point for its object")
    height, width = image_size
    x, y = points.unbind(2)
    inside = (x >= 0) & (y >= 0) & (x <= width) & (y <= height)  # false for NaN
    refuse_rows(
        points,
        ~(inside | (labels == NOT_A_POINT)).all(1),
        "points",
        f"has a point outside the image, which is {width} x {height} pixels, or one that is not finite",
    )
    return points, labels
