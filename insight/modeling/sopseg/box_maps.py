"""Box prompts as maps, which tell every pixel where it lies in its prompt."""

import torch
from torch import Tensor

from insight.structures.oriented_boxes import box_corners
from insight.structures.prompts import Prompts

CHANNELS = 3
FAR = 1.5  # half extents; positions beyond are not told apart


def box_maps(prompts: Prompts, crop_size: tuple[int, int], scale: int) -> Tensor:
    """Draw the box of each prompt, oriented if there is one, at a fraction of the crop's resolution.

    Args:
        prompts: N prompts, crop pixels.
        crop_size: (height, width) of the crops, pixels.
        scale: divisor of the resolution.

    Returns:
        (N, 3, H / scale, W / scale) float32: how much of a pixel the box covers, 0 to 1, approximately; and the
        distances from the box's centre along its two axes, in half extents, the larger extent first, up to `FAR`.
        Prompts without boxes give 0, 1, 1: all of the crop is equally near.
    """
    height, width = crop_size[0] // scale, crop_size[1] // scale
    if prompts.boxes is None:
        maps = prompts.points.new_ones(prompts.count, CHANNELS, height, width)
        maps[:, 0] = 0
        return maps
    corners = box_corners(prompts.boxes) if prompts.corners is None else prompts.corners
    corners = corners.float() / scale
    first, second = corners[:, 1] - corners[:, 0], corners[:, 3] - corners[:, 0]
    longer = (first.norm(dim=1) >= second.norm(dim=1))[:, None]
    axes = torch.stack([torch.where(longer, first, second), torch.where(longer, second, first)], 1)  # (N, 2, 2)
    half = axes.norm(dim=2).clamp(min=1e-3) / 2
    unit = axes / axes.norm(dim=2, keepdim=True).clamp(min=1e-3)
    # |u . (p - c)| = |u_x x + u_y y - u . c|: an outer sum of a row and a column.
    x = torch.arange(width, device=corners.device) + 0.5
    y = torch.arange(height, device=corners.device) + 0.5
    offset = (unit * corners.mean(1)[:, None]).sum(2)[..., None, None]
    along = (unit[..., 0, None, None] * x + (unit[..., 1, None, None] * y[:, None] - offset)).abs()  # (N, 2, h, w)
    half = half[..., None, None]
    covered = (half - along + 0.5).clamp(0, 1).prod(1, keepdim=True)
    return torch.cat([covered, (along / half).clamp(max=FAR)], 1)
