"""The output of SOPSeg's image encoders, and the input sizes that they accept."""

from numbers import Integral
from typing import NamedTuple

from torch import Tensor

from insight.errors import InputError

STRIDE = 16  # input pixels per token, in every SAM image encoder
SIZE_STEP, MAX_SIZE = 64, 1024


def check_input_size(size: int, name: str) -> None:
    """Check the side of an encoder's input.

    Args:
        size: side, pixels.
        name: name of the argument or config key, for the error.

    Raises:
        InputError: not a multiple of 64 up to 1024.
    """
    if not isinstance(size, Integral) or size % SIZE_STEP or not SIZE_STEP <= size <= MAX_SIZE:
        raise InputError(f"{name}: expected a multiple of {SIZE_STEP} up to {MAX_SIZE}, got {size!r}")


class ImageFeatures(NamedTuple):
    """Features of a batch of crops.

    Attributes:
        embedding: (B, 256, H / 16, W / 16), SAM's image embedding.
        shallow: (B, shallow_channels, H / 16, W / 16), an early, detailed feature: F_s of SOPSeg.
        fine: features at 1/4 and 1/8, of the encoder's `fine_channels`; empty from encoders that have none.
    """

    embedding: Tensor
    shallow: Tensor
    fine: tuple[Tensor, ...] = ()


def check_images(images: Tensor) -> None:
    """Check the input of an image encoder.

    Args:
        images: (B, 3, H, W) float, normalised.

    Raises:
        InputError: another dtype or shape, or a side that is not a multiple of 64 up to 1024.
    """
    if not images.is_floating_point():
        raise InputError(
            f"images: expected a floating-point tensor, normalised with PIXEL_MEAN and PIXEL_STD, got {images.dtype}"
        )
    if images.dim() != 4 or images.shape[1] != 3:
        raise InputError(f"images: expected shape (B, 3, H, W), got {tuple(images.shape)}")
    for side in images.shape[2:]:
        if side % SIZE_STEP or not SIZE_STEP <= side <= MAX_SIZE:
            raise InputError(
                f"images: expected height and width that are multiples of {SIZE_STEP} up to {MAX_SIZE}, "
                f"got {images.shape[2]} x {images.shape[3]}"
            )
