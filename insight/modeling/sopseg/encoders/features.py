"""What every image encoder of SOPSeg returns, and the input sizes that it takes."""

from numbers import Integral
from typing import NamedTuple

from torch import Tensor

STRIDE = 16  # input pixels per token, in every SAM image encoder
SIZE_STEP, MAX_SIZE = 64, 1024


def check_input_size(size: int, name: str) -> None:
    """Check the side of an encoder's input before there is one.

    Args:
        size: pixels.
        name: of the argument or config key that gave it.

    Raises:
        ValueError: no encoder takes such an input.
    """
    if not isinstance(size, Integral) or size % SIZE_STEP or not SIZE_STEP <= size <= MAX_SIZE:
        raise ValueError(f"{name}: expected a multiple of {SIZE_STEP} up to {MAX_SIZE}, got {size!r}")


class ImageFeatures(NamedTuple):
    """Features of a batch of crops.

    Attributes:
        embedding: (B, 256, H / 16, W / 16), SAM's image embedding.
        shallow: (B, shallow_channels, H / 16, W / 16), F_s of SOPSeg: an early feature, rich in detail.
    """

    embedding: Tensor
    shallow: Tensor


def check_images(images: Tensor) -> None:
    """Refuse input that an image encoder cannot take.

    Args:
        images: (B, 3, H, W) floating point, normalised.

    Raises:
        TypeError: not a floating-point tensor.
        ValueError: not of that shape, or a side that is not a multiple of 64 up to 1024.
    """
    if not images.is_floating_point():
        raise TypeError(
            f"images: expected a floating-point tensor, normalised with PIXEL_MEAN and PIXEL_STD, got {images.dtype}"
        )
    if images.dim() != 4 or images.shape[1] != 3:
        raise ValueError(f"images: expected shape (B, 3, H, W), got {tuple(images.shape)}")
    for side in images.shape[2:]:
        if side % SIZE_STEP or not SIZE_STEP <= side <= MAX_SIZE:
            raise ValueError(
                f"images: expected height and width that are multiples of {SIZE_STEP} up to {MAX_SIZE}, "
                f"got {images.shape[2]} x {images.shape[3]}"
            )
