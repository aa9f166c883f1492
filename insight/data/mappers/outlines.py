"""Outlines as people draw them: a little too wide and a little off the object."""

import cv2
import numpy as np
import torch
from torch import Tensor

STEPS = 5  # sub-pixels along the side of a pixel; odd, so that none is covered by exactly half


def redraw_outline(mask: Tensor, error: float, generator: torch.Generator) -> Tensor:
    """Widen and shift the mask of an object at random.

    The outline moves outwards by up to `error` pixels, the same on all sides, and the whole mask along each axis by up
    to half of that in either direction. Both are drawn uniformly, in steps of 1 / `STEPS` pixels for the shift.

    Args:
        mask: (H, W) bool, the object; at least one pixel.
        error: pixels.
        generator: draws the error of this outline.

    Returns:
        (H, W) bool: the pixels of which the new outline covers at least half; the mask itself if there are none.
    """
    wider, *shift = torch.rand(3, generator=generator).tolist()
    down, right = (round(error * STEPS * (number - 0.5)) for number in shift)
    room = int(np.ceil(1.5 * error)) + 1
    rows, columns = (mask.any(axis).nonzero() for axis in (1, 0))
    top, left = (max(0, int(found.min()) - room) for found in (rows, columns))
    window = np.s_[top : int(rows.max()) + room + 1, left : int(columns.max()) + room + 1]

    # Straight between the centres of pixels: on slopes, the corners of pixels would widen it by a third of one.
    fine = cv2.resize(mask[window].numpy().astype(np.float32), None, fx=STEPS, fy=STEPS, interpolation=cv2.INTER_LINEAR)
    fine = (fine >= 0.5).view(np.uint8)
    outside = cv2.distanceTransform(1 - fine, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) if fine.min() == 0 else 0 * fine
    moved = np.float32([[1, 0, right], [0, 1, down]])
    wide = (outside <= error * STEPS * wider + 0.5).astype(np.float32)  # distances end at the centres of sub-pixels
    wide = cv2.warpAffine(wide, moved, wide.shape[::-1], flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    covered = cv2.resize(wide, None, fx=1 / STEPS, fy=1 / STEPS, interpolation=cv2.INTER_AREA) >= 0.5
    if not covered.any():
        return mask
    redrawn = torch.zeros_like(mask)
    redrawn[window] = torch.from_numpy(covered)
    return redrawn
