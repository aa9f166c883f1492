"""The model's input: regions of an image, cut out, resized and normalised."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from insight.ops import crop_resize
from insight.structures.crop_plans import CropPlan

from .model import PIXEL_MEAN, PIXEL_STD


def cut_crops(image: Tensor, plan: CropPlan, size: int) -> Tensor:
    """Cut regions out of an image and resize them.

    Args:
        image: (3, H, W) uint8 or float RGB, pixel values 0 to 255.
        plan: R regions, on the image's device.
        size: side of the crops, pixels; for a plan of `whole_image`, the size it was planned for.

    Returns:
        (R, 3, size, size) float32, normalised; zeros outside the image.
    """
    if plan.resized is None:
        return crop_resize(image[None], plan.regions, size, mean=PIXEL_MEAN, std=PIXEL_STD)
    height, width = plan.resized
    pixels = _resize_as_sam(image, height, width).to(image.device, torch.float32)
    mean, std = (pixels.new_tensor(values)[:, None, None] for values in (PIXEL_MEAN, PIXEL_STD))
    return F.pad((pixels - mean) / std, (0, size - width, 0, size - height))[None]


def _resize_as_sam(image: Tensor, height: int, width: int) -> Tensor:
    """(3, height, width) uint8 on the CPU, resized by Pillow, as SAM does; torch's resizing gives other bytes."""
    if image.is_floating_point():
        image = image.round().clamp(0, 255).byte()
    pixels = Image.fromarray(image.permute(1, 2, 0).contiguous().cpu().numpy())
    resized = np.array(pixels.resize((width, height), Image.Resampling.BILINEAR))
    return torch.from_numpy(resized).permute(2, 0, 1)
