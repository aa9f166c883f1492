"""Transformation of masks between the image and the crops around objects, exact to a fraction of a pixel."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from insight.ops import crop_resize


class ImageWindows(NamedTuple):
    """Maps of N objects on the image's pixel grid, each in a window around its region.

    Attributes:
        logits: (N, h, w) float; -inf outside an object's region.
        corners: (N, 2) int64, x and y of each window's first pixel in the image; a window may leave the image.
    """

    logits: Tensor
    corners: Tensor


def masks_to_crops(masks: Tensor, regions: Tensor, crop_size: int) -> Tensor:
    """Cut the mask of each object out of the image, in the same way as its crop.

    Args:
        masks: (N, H, W) bool or 0 / 1, one mask of the whole image for each region.
        regions: (N, 4) XYXY, image pixels; outside the image there is no object.
        crop_size: side of the crops, pixels.

    Returns:
        (N, crop_size, crop_size) bool: True where the object covers at least half of the pixel.
    """
    index = torch.arange(len(masks), device=masks.device)
    return crop_resize(masks[:, None].float(), regions, crop_size, image_index=index)[:, 0] >= 0.5


def logits_to_image(logits: Tensor, regions: Tensor) -> ImageWindows:
    """Transform mask logits from crops back to the pixels of the image.

    The logits are interpreted as a continuous field, bilinear between the centres of the crop's pixels, and sampled at
    the centre of every image pixel. All windows are as large as the largest region requires, so group regions of
    similar size.

    Args:
        logits: (N, s, s), over the whole region each.
        regions: (N, 4) XYXY, image pixels.

    Returns:
        The logits on the image's grid; the mask is where they are above 0.
    """
    corners = regions[:, :2].floor()
    extent = (regions[:, 2:].ceil() - corners).amax(0) if len(regions) else regions.new_zeros(2)
    width, height = (int(side) for side in extent)
    x = _relative_centres(corners[:, 0], regions[:, 0], regions[:, 2], width)
    y = _relative_centres(corners[:, 1], regions[:, 1], regions[:, 3], height)
    grid = torch.stack([x[:, None, :].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)], -1)
    windows = F.grid_sample(
        logits[:, None].float(), grid.float(), mode="bilinear", padding_mode="border", align_corners=False
    )[:, 0]
    outside = ~(grid.abs() <= 1).all(-1)  # also NaN, of a region without extent
    return ImageWindows(windows.masked_fill(outside, float("-inf")), corners.long())


def paste_windows(windows: ImageWindows, image_size: tuple[int, int]) -> Tensor:
    """Place windows in full-size images; N objects need N times the image's pixels.

    Args:
        windows: the output of `logits_to_image`.
        image_size: (height, width) of the image.

    Returns:
        (N, height, width) logits; -inf outside an object's region. The mask is where they are above 0.
    """
    height, width = image_size
    images = windows.logits.new_full((len(windows.logits), height, width), float("-inf"))
    for image, window, (x, y) in zip(images, windows.logits, windows.corners.tolist()):
        left, top = max(x, 0), max(y, 0)
        right, bottom = min(x + window.shape[1], width), min(y + window.shape[0], height)
        if left < right and top < bottom:
            image[top:bottom, left:right] = window[top - y : bottom - y, left - x : right - x]
    return images


def _relative_centres(corner: Tensor, low: Tensor, high: Tensor, count: int) -> Tensor:
    """(N, count) centres of the pixels from each corner on, -1 at the low and 1 at the high edge of the region."""
    # In float64: coordinates of a large scene leave float32 no digits for fractions of a pixel.
    centres = corner.double()[:, None] + torch.arange(count, device=corner.device) + 0.5
    low, high = low.double()[:, None], high.double()[:, None]
    return 2 * (centres - low) / (high - low) - 1
