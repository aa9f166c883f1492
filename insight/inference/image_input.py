"""Conversion of images from any supported form to RGB pixels."""

import os
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from insight.data.formats.images import as_rgb, read_image
from insight.errors import InputError, InsightError

_CONVERTED_MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")


class NoImageError(InsightError, RuntimeError):
    """No image was set before a prediction."""

    def __init__(self) -> None:
        super().__init__("no image is set: call set_image(image) first")


def to_rgb(image: Any, order: str = "RGB") -> np.ndarray:
    """Convert an image of any supported form to an array.

    Args:
        image: one of

            - a path, read with its EXIF orientation applied;
            - an array (H, W, 3) uint8, or grey (H, W), or with alpha (H, W, 4);
            - a Pillow image of any mode with 8 bits per band or less (palettes are looked up, CMYK is converted, alpha
              is dropped), with its EXIF orientation applied;
            - a tensor (3, H, W) uint8 on any device, also with 1 or 4 channels.
        order: order of the channels of an array or tensor, "RGB" or "BGR" (OpenCV); ignored for paths and Pillow
            images.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        OSError: the file cannot be read.
        InputError: an unsupported type, shape, dtype or order, or more than 8 bits per band.
    """
    if order not in ("RGB", "BGR"):
        raise InputError(f'order: expected "RGB" or "BGR", got {order!r}')
    if isinstance(image, str | os.PathLike):
        return read_image(image)
    if isinstance(image, Image.Image):
        return _from_pillow(image)
    if isinstance(image, torch.Tensor):
        image = _from_tensor(image)
    elif not isinstance(image, np.ndarray) and not hasattr(image, "__array__"):
        raise InputError(
            "image: expected a path, an array (H, W, 3), a Pillow image or a tensor (3, H, W), "
            f"got {type(image).__name__}"
        )
    pixels = as_rgb(np.asarray(image))
    return pixels if order == "RGB" else pixels[:, :, ::-1]


def _from_pillow(image: Image.Image) -> np.ndarray:
    if image.mode not in _CONVERTED_MODES:
        raise InputError(
            f"image: expected a Pillow image with 8 bits per band, got mode {image.mode!r}; choose three bands and "
            "stretch them to 8 bits first"
        )
    if image.mode == "La":  # which Pillow converts to no other mode
        image = image.convert("LA")
    return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def _from_tensor(image: torch.Tensor) -> np.ndarray:
    if image.dtype != torch.uint8:
        raise InputError(
            f"image: expected a uint8 tensor, got {image.dtype}; scale pixel values to 0 ... 255 and call .byte()"
        )
    if image.ndim != 3 or image.shape[0] not in (1, 3, 4):
        hint = "; pass .numpy() for channels last" if image.ndim == 3 and image.shape[2] in (1, 3, 4) else ""
        raise InputError(f"image: expected a tensor of shape (3, H, W), got {tuple(image.shape)}{hint}")
    return image.detach().permute(1, 2, 0).cpu().numpy()
