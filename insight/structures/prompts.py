"""What SOPSeg is prompted with: boxes, points, or both."""

from typing import NamedTuple

import torch
from torch import Tensor

from .crop_regions import boxes_to_crop, points_to_crop
from .oriented_boxes import oriented_prompt_points


class Prompts(NamedTuple):
    """Prompts of N objects, in the pixels of an image or each in those of its crop; unpacks into the model's arguments.

    Attributes:
        boxes: (N, 4) float XYXY, or None.
        points: (N, P, 2) float XY, or None.
        labels: (N, P) 1 for foreground, 0 for background, -1 for no point; None without points.
    """

    boxes: Tensor | None = None
    points: Tensor | None = None
    labels: Tensor | None = None

    @property
    def count(self) -> int:  # type: ignore[override] # of tuple, whose method nobody needs here
        """N."""
        given = self.boxes if self.boxes is not None else self.points
        assert given is not None, "Prompts has neither boxes nor points"
        return len(given)

    def select(self, index: Tensor | slice) -> "Prompts":
        """The prompts of some objects.

        Args:
            index: (M,) int64, (N,) bool, or a slice.

        Returns:
            M prompts.
        """
        return Prompts(*(None if part is None else part[index] for part in self))

    def to_crops(self, regions: Tensor, crop_size: int) -> "Prompts":
        """Prompts of an image in the frames of the objects' crops.

        Args:
            regions: (N, 4) XYXY, image pixels, what was cut for each object.
            crop_size: side of the crops, pixels.

        Returns:
            The same prompts, in crop pixels.
        """
        boxes = None if self.boxes is None else boxes_to_crop(self.boxes, regions, crop_size)
        points = None if self.points is None else points_to_crop(self.points, regions, crop_size)
        return Prompts(boxes, points, self.labels)


def oriented_prompts(corners: Tensor) -> Prompts:
    """Prompt with oriented boxes: the horizontal box around each, and three foreground points along its axis.

    Args:
        corners: (N, 4, 2) XY, image pixels, consecutive corners; `box_corners` makes them of horizontal boxes.

    Returns:
        Boxes and points P_1, C, P_2.

    Source: SOPSeg, Eq. 4 to 6.
    """
    boxes = torch.cat([corners.amin(1), corners.amax(1)], 1)
    points = oriented_prompt_points(corners)
    return Prompts(boxes, points, torch.ones(points.shape[:2], dtype=torch.int64, device=points.device))
