"""Region-adaptive magnification: the square region around each object, and coordinates within it.

Coordinates are continuous: pixel i covers i to i + 1, in the image as in the crop.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from insight.errors import InputError


@dataclass(frozen=True)
class CropSchedule:
    """The size of the region to cut out for an object of a given size.

    Attributes:
        small: m; objects up to this longest side, in pixels, get a fixed ratio of context.
        expansion: k_0, that ratio: the region is this many times the object's longest side.
        max_size: S_max; an object of this size fills its region, as do larger ones: the region is never smaller than
            the object, which Eq. 1 alone does not ensure.
        min_size: smallest region, which limits the magnification; not in the paper (0 for its literal formula).

    Raises:
        InputError: values for which regions would not grow with objects.

    Source: SOPSeg, Eq. 1 and its constants.
    """

    small: float = 32.0
    expansion: float = 2.0
    max_size: float = 1024.0
    min_size: float = 16.0

    def __post_init__(self) -> None:
        if not (self.small > 0 and self.expansion >= 1 and self.expansion * self.small < self.max_size):
            raise InputError(
                "CropSchedule: expected small > 0, expansion >= 1 and expansion * small < max_size, got "
                f"small {self.small}, expansion {self.expansion}, max_size {self.max_size}"
            )

    def sizes(self, boxes: Tensor) -> Tensor:
        """Compute the side of the region of each box.

        Args:
            boxes: (N, 4) float XYXY, image pixels.

        Returns:
            (N,) S, image pixels; at least the longest side of the box.
        """
        longest = (boxes[:, 2:] - boxes[:, :2]).amax(1)
        slope = (self.max_size - self.expansion * self.small) / (self.max_size - self.small)
        large = slope * longest + (self.expansion - slope) * self.small
        size = torch.where(longest < self.small, self.expansion * longest, large)
        return torch.maximum(size, longest).clamp(min=self.min_size)


def crop_regions(boxes: Tensor, schedule: CropSchedule | None = None, positions: Tensor | None = None) -> Tensor:
    """Compute the square region to cut around each box.

    Args:
        boxes: (N, 4) float XYXY, image pixels.
        schedule: size of the regions; None for the paper's constants.
        positions: (N, 2) a_x and a_y, the position of the box in the free space of its region: 0 at the left or upper
            border, 1 at the right or lower border; None centres it (inference).

    Returns:
        (N, 4) XYXY, squares that contain their boxes; may extend beyond the image.

    Source: SOPSeg, Eq. 2, with (x, y) the upper left corner of the box, without which a = 0.5 would not centre it.
    """
    sizes = (schedule or CropSchedule()).sizes(boxes)[:, None]
    free = sizes - (boxes[:, 2:] - boxes[:, :2])
    corner = boxes[:, :2] - (0.5 if positions is None else positions) * free
    return torch.cat([corner, corner + sizes], 1)


def random_positions(
    count: int, generator: torch.Generator | None = None, low: float = 0.3, high: float = 0.7
) -> Tensor:
    """Draw random positions of objects in their regions, for training.

    Args:
        count: number of boxes, N.
        generator: source of randomness.
        low, high: the range of a_x and a_y.

    Returns:
        (N, 2) float32, uniform.

    Source: SOPSeg, text below Eq. 2.
    """
    return low + (high - low) * torch.rand(count, 2, generator=generator)


def points_to_crop(points: Tensor, regions: Tensor, crop_size: int) -> Tensor:
    """Transform points from the image to their crops.

    Args:
        points: (N, ..., 2) XY, image pixels.
        regions: (N, 4) XYXY, image pixels.
        crop_size: side of the crops, pixels.

    Returns:
        (N, ..., 2) XY, crop pixels.
    """
    origin, size = _origin_and_size(points, regions)
    return (points - origin) * (crop_size / size)


def boxes_to_crop(boxes: Tensor, regions: Tensor, crop_size: int) -> Tensor:
    """Transform boxes from the image to their crops.

    Args:
        boxes: (N, 4) XYXY, image pixels.
        regions: (N, 4) XYXY, image pixels.
        crop_size: side of the crops, pixels.

    Returns:
        (N, 4) XYXY, crop pixels.
    """
    return points_to_crop(boxes.unflatten(1, (2, 2)), regions, crop_size).flatten(1)


def _origin_and_size(points: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
    shape = (len(regions), *(1,) * (points.dim() - 2))
    origin = regions[:, :2].reshape(*shape, 2)
    size = (regions[:, 2:] - regions[:, :2]).reshape(*shape, 2)
    return origin, size
