"""Checks that the ops share: of tensors, of integers, of the image that each box or RoI belongs to."""

import operator

import torch
from torch import Tensor


def describe(value: object) -> str:
    """What came instead of a tensor of the right kind: the dtype of a tensor, the type of anything else."""
    return f"{value.dtype}" if isinstance(value, Tensor) else type(value).__name__


def is_floating_point(value: object) -> bool:
    """Whether this is a tensor of floating-point numbers."""
    return isinstance(value, Tensor) and value.is_floating_point()


def check_device(name: str, value: Tensor, other_name: str, other: Tensor) -> None:
    """Raise a ValueError unless two tensors are on one device."""
    if value.device != other.device:
        raise ValueError(f"{name} must be on the device of {other_name}, {other.device}, got {value.device}")


def as_integer(value: object, expected: str, given: object) -> int:
    """An integer of any kind, NumPy's too, as Python's.

    Args:
        value: what should be an integer; a symbolic one, while torch.compile traces, is left alone.
        expected: what the error says if it is none.
        given: the argument that the value is of, for the error.

    Returns:
        The integer.

    Raises:
        TypeError: if it is none.
    """
    if isinstance(value, int | torch.SymInt):
        return value
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{expected}, got {given}") from None


def as_image_index(image_index: Tensor, of_name: str, of: Tensor) -> Tensor:
    """The image of each box or RoI as the kernels read it.

    Args:
        image_index: (N,) int64 or int32.
        of_name: the argument that holds what belongs to the images.
        of: (N, ...), its value.

    Returns:
        (N,) int64.

    Raises:
        TypeError: if it is not a tensor of one of the two types.
        ValueError: if it has another shape or device.
    """
    if not isinstance(image_index, Tensor) or image_index.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"image_index must be an int64 or int32 tensor (N,), got {describe(image_index)}")
    if image_index.dim() != 1 or image_index.shape[0] != of.shape[0]:
        raise ValueError(
            f"image_index must have shape (N,) = ({of.shape[0]},), got {tuple(image_index.shape)}; "
            f"N is that of {of_name}"
        )
    check_device("image_index", image_index, of_name, of)
    return image_index.to(torch.int64)
