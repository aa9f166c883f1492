"""Which regions of an image to cut out for a number of prompts, and which prompt is answered from which."""

from typing import NamedTuple

import torch
from torch import Tensor

from .crop_regions import CropSchedule, crop_regions


class CropPlan(NamedTuple):
    """R regions that serve N prompts.

    Attributes:
        regions: (R, 4) float XYXY, image pixels, squares; may leave the image.
        index: (N,) int64, the region of each prompt.
    """

    regions: Tensor
    index: Tensor


def one_crop_each(boxes: Tensor, schedule: CropSchedule | None = None, positions: Tensor | None = None) -> CropPlan:
    """Region-adaptive magnification: a region around each object.

    Args:
        boxes: (N, 4) float XYXY, image pixels.
        schedule: how large; None for the paper's constants.
        positions: (N, 2) as `crop_regions`; None centres the objects.

    Returns:
        N regions for N prompts.

    Source: SOPSeg, Eq. 1 and 2.
    """
    return CropPlan(crop_regions(boxes, schedule, positions), torch.arange(len(boxes), device=boxes.device))


def whole_image(count: int, image_size: tuple[int, int]) -> CropPlan:
    """One region for all: the image, and beyond its right or lower border so that it is square, as SAM pads it.

    Args:
        count: number of prompts, N.
        image_size: (height, width) of the image, pixels.

    Returns:
        One region for N prompts.
    """
    side = float(max(image_size))
    return CropPlan(torch.tensor([[0.0, 0.0, side, side]]), torch.zeros(count, dtype=torch.int64))
