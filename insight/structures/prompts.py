"""Prompts in the frame of their crops, as SOPSeg's model takes them."""

from typing import NamedTuple

import torch
from torch import Tensor

from .crop_regions import boxes_to_crop, points_to_crop
from .oriented_boxes import oriented_prompt_points


class CropPrompts(NamedTuple):
    """Prompts of N objects, each in the pixels of its crop; unpacks into the model's arguments.

    Attributes:
        boxes: (N, 4) float XYXY.
        points: (N, P, 2) float XY, or None.
        labels: (N, P) 1 for foreground, or None.
    """

    boxes: Tensor
    points: Tensor | None = None
    labels: Tensor | None = None


def box_prompts(boxes: Tensor, regions: Tensor, crop_size: int) -> CropPrompts:
    """Prompt with horizontal boxes alone.

    Args:
        boxes: (N, 4) float XYXY, image pixels.
        regions: (N, 4) XYXY, image pixels, what was cut for each box.
        crop_size: side of the crops, pixels.

    Returns:
        The boxes in their crops.
    """
    return CropPrompts(boxes_to_crop(boxes, regions, crop_size))


def oriented_prompts(corners: Tensor, regions: Tensor, crop_size: int) -> CropPrompts:
    """Prompt with oriented boxes: the horizontal box around each, and three points along its axis.

    Args:
        corners: (N, 4, 2) XY, image pixels, consecutive corners; `box_corners` makes them of horizontal boxes.
        regions: (N, 4) XYXY, image pixels, what was cut for each box.
        crop_size: side of the crops, pixels.

    Returns:
        Boxes and foreground points P_1, C, P_2 in their crops.

    Source: SOPSeg, Eq. 4 to 6.
    """
    boxes = torch.cat([corners.amin(1), corners.amax(1)], 1)
    points = points_to_crop(oriented_prompt_points(corners), regions, crop_size)
    labels = torch.ones(points.shape[:2], dtype=torch.int64, device=points.device)
    return CropPrompts(boxes_to_crop(boxes, regions, crop_size), points, labels)
