"""Argument checks shared by the operators."""

import operator
from typing import SupportsIndex, cast

import torch
from torch import Tensor

from insight.errors import InputError


def describe(value: object) -> str:
    """Describe a value for an error message: the dtype of a tensor, the type of anything else."""
    return f"{value.dtype}" if isinstance(value, Tensor) else type(value).__name__


def is_floating_point(value: object) -> bool:
    """Return whether a value is a floating-point tensor."""
    return isinstance(value, Tensor) and value.is_floating_point()


def check_device(name: str, value: Tensor, other_name: str, other: Tensor) -> None:
    """Raise an InputError unless two tensors are on the same device."""
    if value.device != other.device:
        raise InputError(f"{name}: expected the device of {other_name}, {other.device}, got {value.device}")


def check_boxes(name: str, boxes: Tensor, shape: str) -> None:
    """Raise an InputError unless a value is a floating-point tensor of XYXY boxes; `shape` is "(N, 4)" or alike."""
    if not is_floating_point(boxes):
        raise InputError(f"{name}: expected a floating-point tensor {shape}, got {describe(boxes)}")
    if boxes.dim() != 2 or boxes.shape[1] != 4:
        raise InputError(f"{name}: expected shape {shape}, got {tuple(boxes.shape)}")


def as_integer(value: object, expected: str, given: object) -> int:
    """Convert an integer of any type, including NumPy's, to a Python int.

    Symbolic integers, which torch.compile traces with, are returned unchanged. Raises an InputError that says
    `expected` and `given` (the argument that holds the value) if it is not an integer.
    """
    if isinstance(value, int | torch.SymInt):
        return cast(int, value)
    try:
        return operator.index(cast(SupportsIndex, value))
    except TypeError:
        raise InputError(f"{expected}, got {given}") from None


def as_image_index(image_index: Tensor, of_name: str, of: Tensor) -> Tensor:
    """Check the image index (N,) of the N boxes or RoIs in argument `of_name`, and convert it to int64."""
    if not isinstance(image_index, Tensor) or image_index.dtype not in (torch.int64, torch.int32):
        raise InputError(f"image_index: expected an int64 or int32 tensor (N,), got {describe(image_index)}")
    if image_index.dim() != 1 or image_index.shape[0] != of.shape[0]:
        raise InputError(
            f"image_index: expected shape (N,) = ({of.shape[0]},), got {tuple(image_index.shape)}; "
            f"N is the length of {of_name}"
        )
    check_device("image_index", image_index, of_name, of)
    return image_index.to(torch.int64)
