"""Prompts of SOPSeg: boxes, points, or both."""

from typing import NamedTuple

import torch
from torch import Tensor

from insight.errors import InputError

from .boxes import validate_boxes, warn_of_normalized
from .crop_regions import boxes_to_crop, points_to_crop
from .oriented_boxes import oriented_corners, oriented_prompt_points
from .points import validate_points


class Prompts(NamedTuple):
    """Prompts of N objects, in pixels of an image or each in pixels of its crop.

    Attributes:
        boxes: (N, 4) float XYXY, or None.
        points: (N, P, 2) float XY, or None.
        labels: (N, P) 1 for foreground, 0 for background, -1 for no point; None without points.
        masks: (N, 1, s / 4, s / 4) float, logits of an earlier prediction in crops of s pixels, or None.
        corners: (N, 4, 2) float XY, consecutive corners of the oriented boxes that boxes and points were made from, or
            None.
    """

    boxes: Tensor | None = None
    points: Tensor | None = None
    labels: Tensor | None = None
    masks: Tensor | None = None
    corners: Tensor | None = None

    @property
    def count(self) -> int:  # type: ignore[override] # of tuple, whose method nobody needs here
        """The number of objects, N."""
        given = self.boxes if self.boxes is not None else self.points
        assert given is not None, "Prompts has neither boxes nor points"
        return len(given)

    def select(self, index: Tensor | slice) -> "Prompts":
        """Select the prompts of some objects.

        Args:
            index: (M,) int64, (N,) bool, or a slice.

        Returns:
            M prompts.
        """
        return Prompts(*(None if part is None else part[index] for part in self))

    def scaled(self, factor: float) -> "Prompts":
        """Transform prompts to an image of another resolution.

        Args:
            factor: its pixels for a pixel of this one.

        Returns:
            The same prompts, in its pixels.
        """
        boxes, points, corners = (
            None if part is None else part * factor for part in (self.boxes, self.points, self.corners)
        )
        return self._replace(boxes=boxes, points=points, corners=corners)

    def moved(self, by: tuple[float, float]) -> "Prompts":
        """Transform prompts to a window of the image, or back.

        Args:
            by: (x, y) of the image's origin in the window, pixels.

        Returns:
            The same prompts, in pixels of the window.
        """
        shift = torch.tensor(by, dtype=torch.float32)
        boxes = None if self.boxes is None else self.boxes + shift.repeat(2).to(self.boxes)
        points, corners = (None if part is None else part + shift.to(part) for part in (self.points, self.corners))
        return self._replace(boxes=boxes, points=points, corners=corners)

    def to_crops(self, regions: Tensor, crop_size: int) -> "Prompts":
        """Transform prompts from the image to the objects' crops.

        Args:
            regions: (N, 4) XYXY, image pixels, the region that was cut out for each object.
            crop_size: side of the crops, pixels.

        Returns:
            The same prompts, in crop pixels.
        """
        boxes = None if self.boxes is None else boxes_to_crop(self.boxes, regions, crop_size)
        points = None if self.points is None else points_to_crop(self.points, regions, crop_size)
        corners = None if self.corners is None else points_to_crop(self.corners, regions, crop_size)
        return Prompts(boxes, points, self.labels, self.masks, corners)


def oriented_prompts(corners: Tensor) -> Prompts:
    """Make prompts of oriented boxes: the horizontal box around each, and three foreground points along its axis.

    Args:
        corners: (N, 4, 2) XY, image pixels, consecutive corners; `box_corners` gives them for horizontal boxes.

    Returns:
        Boxes, points P_1, C, P_2, and the corners.

    Source: SOPSeg, Eq. 4 to 6.
    """
    boxes = torch.cat([corners.amin(1), corners.amax(1)], 1)
    points = oriented_prompt_points(corners)
    labels = torch.ones(points.shape[:2], dtype=torch.int64, device=points.device)
    return Prompts(boxes, points, labels, corners=corners)


class ParsedPrompts(NamedTuple):
    """Validated prompts of an image, in groups that can be segmented together.

    Attributes:
        groups: boxes and points first, then oriented boxes; empty without prompts.
        corners: (M, 4, 2) corners of the oriented boxes, which come last; None without oriented boxes.
    """

    groups: list[Prompts]
    corners: Tensor | None

    @property
    def count(self) -> int:  # type: ignore[override] # of tuple, whose method nobody needs here
        """The number of prompts, N."""
        return sum(group.count for group in self.groups)

    def scaled(self, factor: float) -> "ParsedPrompts":
        """Transform prompts to an image of another resolution, see `Prompts.scaled`."""
        corners = None if self.corners is None else self.corners * factor
        return ParsedPrompts([group.scaled(factor) for group in self.groups], corners)

    @property
    def boxes(self) -> Tensor | None:
        """(N, 4) XYXY, as given or around the oriented boxes; None for points alone."""
        parts = [group.boxes for group in self.groups if group.boxes is not None]
        return torch.cat(parts) if parts else None

    @property
    def oriented_boxes(self) -> Tensor | None:
        """(N, 4, 2) corners, NaN in rows of other prompts; None if there are no oriented boxes."""
        if self.corners is None or not len(self.corners):
            return None
        others = self.corners.new_full((self.count - len(self.corners), 4, 2), float("nan"))
        return torch.cat([others, self.corners])


def parse_prompts(
    image_size: tuple[int, int], boxes=None, oriented_boxes=None, points=None, labels=None
) -> ParsedPrompts:
    """Validate prompts and convert them to tensors. Coordinates that look normalised are warned of.

    Args:
        image_size: (height, width) of the image, pixels.
        boxes: (N, 4), as `validate_boxes` accepts them, or None.
        oriented_boxes: (M, ...) in any form that `oriented_corners` accepts, or None.
        points: (N, P, 2), as `validate_points` accepts them, alone or for `boxes`, or None.
        labels: (N, P), labels of `points`.

    Returns:
        The prompts, in groups of one form each.

    Raises:
        InputError: a prompt that is not finite, without area or entirely outside the image, a wrong shape, or arguments
            that cannot be combined. The message names the argument.
    """
    if points is None and labels is not None:
        raise InputError("labels: given without points")
    if points is not None and oriented_boxes is not None:
        raise InputError("points: cannot be combined with oriented_boxes, which bring their own points")
    groups, corners = [], None
    if points is not None:
        points, labels = validate_points(points, labels, image_size)
    if boxes is not None:
        boxes = validate_boxes(boxes, image_size)
        if points is not None and len(points) != len(boxes):
            raise InputError(f"points: expected points of {len(boxes)} objects, one for each box, got {len(points)}")
    if boxes is not None or points is not None:
        groups.append(Prompts(boxes, points, labels))
    if oriented_boxes is not None:
        corners = oriented_corners(oriented_boxes)
        groups.append(oriented_prompts(corners))
        validate_boxes(groups[-1].boxes, image_size, name="oriented_boxes")
    given = {"boxes": boxes, "oriented_boxes": corners, "points": points}
    given = {name: part.reshape(-1) for name, part in given.items() if part is not None}
    if given:
        warn_of_normalized(torch.cat(list(given.values())), " and ".join(given))
    return ParsedPrompts(groups, corners)
