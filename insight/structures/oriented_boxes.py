"""Oriented boxes: conversion to corners, enclosing boxes, and the three points that prompt SAM with an orientation."""

import math

import cv2
import numpy as np
import torch
from torch import Tensor

from insight.errors import InputError

from .boxes import refuse_rows
from .prompt_inputs import oriented_box_values, to_numbers
from .rle import decode_crop, rle_box

SQUARE_TOLERANCE = 0.01  # two sides closer than this, relative to the longer one, count as equal
MEANING = "(N, 4, 2) or (N, 8) corners, or (N, 5) centre x, centre y, width, height, angle in degrees"


def oriented_corners(oriented_boxes, name: str = "oriented_boxes") -> Tensor:
    """Convert oriented boxes of any accepted form to corners.

    Angles follow Detectron2: in degrees, counter-clockwise as displayed, from the x axis to the side called width.
    OpenCV uses the opposite sign.

    Args:
        oriented_boxes: in image pixels, in any form that `oriented_box_values` and `to_numbers` accept: (N, 4, 2)
            corners in any order; (N, 8) the same, flattened, as in DOTA's files; (N, 5) centre x, centre y, width,
            height, angle; or one box, (4, 2), (8,) or (5,). N may be 0.
        name: the argument's name, for error messages.

    Returns:
        (N, 4, 2) float32 XY on the CPU, clockwise as displayed.

    Raises:
        InputError: another shape, a number that is not finite, or a box without area. The message names the first
            such box.
    """
    boxes = to_numbers(oriented_box_values(oriented_boxes), name, MEANING)
    if boxes.shape in ((4, 2), (8,), (5,)):
        boxes = boxes[None]
    if boxes.numel() == 0 and len(boxes) == 0:
        return boxes.new_zeros(0, 4, 2)
    if boxes.shape[1:] not in ((5,), (8,), (4, 2)):
        raise InputError(f"{name}: expected {MEANING}, got shape {tuple(boxes.shape)}")
    refuse_rows(boxes, ~boxes.flatten(1).isfinite().all(1), name, "has a coordinate that is not finite")
    refuse_rows(boxes, ~have_area(boxes), name, "has no area")
    return _rotated_corners(boxes) if boxes.shape[1:] == (5,) else _clockwise(boxes.reshape(-1, 4, 2))


def have_area(boxes: Tensor) -> Tensor:
    """Return which oriented boxes have an area, as `oriented_corners` requires.

    Args:
        boxes: float32, finite, in one of the forms of `oriented_corners`.

    Returns:
        (N,) bool.
    """
    if boxes.shape[1:] == (5,):
        return (boxes[:, 2:4] > 0).all(1)
    return _areas(_clockwise(boxes.reshape(-1, 4, 2))) > 0


def enclosing_boxes(oriented_boxes, name: str = "oriented_boxes") -> Tensor:
    """Compute the smallest horizontal box around each oriented box.

    Args:
        oriented_boxes: in any form that `oriented_corners` accepts.
        name: the argument's name, for error messages.

    Returns:
        (N, 4) float32 XYXY, image pixels.

    Raises:
        InputError: as `oriented_corners`.
    """
    corners = oriented_corners(oriented_boxes, name)
    return torch.cat([corners.amin(1), corners.amax(1)], 1)


def box_corners(boxes: Tensor) -> Tensor:
    """Return the corners of horizontal boxes.

    Args:
        boxes: (N, 4) float XYXY.

    Returns:
        (N, 4, 2) XY, clockwise as displayed, from the upper left.
    """
    x1, y1, x2, y2 = boxes.unbind(1)
    return torch.stack([x1, y1, x2, y1, x2, y2, x1, y2], 1).reshape(-1, 4, 2)


def oriented_prompt_points(corners: Tensor) -> Tensor:
    """Compute three foreground points along the principal axis of each oriented box.

    The axis joins the midpoints of the two shorter sides. For a square box (within 1 %) Eq. 4 does not determine the
    axis, and noise could rotate it by 90 degrees; the axis nearer to horizontal is chosen, and of two diagonal axes the
    one from the upper left. The points do not depend on which corner comes first.

    Args:
        corners: (N, 4, 2) XY, consecutive corners, from `oriented_corners` or `box_corners`.

    Returns:
        (N, 3, 2) P_1, C, P_2, where P_1 is the left one (of a vertical axis, the upper one).

    Source: SOPSeg, Eq. 4.
    """
    c0, c1, c2, c3 = corners.unbind(1)
    centre = corners.mean(1)
    first, second = (c1 + c2 - c0 - c3) / 2, (c2 + c3 - c0 - c1) / 2  # between the midpoints of opposite sides
    first_length, second_length = first.norm(dim=1), second.norm(dim=1)
    square = (first_length - second_length).abs() <= SQUARE_TOLERANCE * torch.maximum(first_length, second_length)
    take_first = torch.where(square, _more_horizontal(first, second), first_length > second_length)
    axis = torch.where(take_first[:, None], first, second)
    backwards = (axis[:, 0] < 0) | ((axis[:, 0] == 0) & (axis[:, 1] < 0))
    axis = torch.where(backwards[:, None], -axis, axis)
    return torch.stack([centre - axis / 4, centre, centre + axis / 4], 1)


def turned_upright(corners: Tensor) -> tuple[Tensor, Tensor]:
    """Rotate oriented boxes about their centres until their principal axis is horizontal.

    Args:
        corners: (N, 4, 2) XY, consecutive corners.

    Returns:
        The rotated boxes, (N, 4) XYXY, with the axis of `oriented_prompt_points` as width; and the sine and cosine of
        the angle from the x axis to that axis, downwards, (N, 2); the cosine is not negative.
    """
    points = oriented_prompt_points(corners)
    axis = 2 * (points[:, 2] - points[:, 0])
    width = axis.norm(dim=1)
    sides = (corners[:, 1:3] - corners[:, :2]).norm(dim=2)
    height = sides.sum(1) - width  # the other of the two
    centre, half = corners.mean(1), torch.stack([width, height], 1) / 2
    angles = axis.flip(1) / width.clamp(min=1e-6)[:, None]
    return torch.cat([centre - half, centre + half], 1), angles


def minimum_area_rectangles(masks: Tensor) -> Tensor:
    """Compute the oriented rectangle of least area around each mask, pixels taken as squares.

    Args:
        masks: (N, H, W) bool.

    Returns:
        (N, 4, 2) float32 XY, image pixels, clockwise as displayed.

    Raises:
        InputError: an empty mask.
    """
    corners = torch.zeros(len(masks), 4, 2)
    for i, mask in enumerate(masks.cpu().numpy()):
        rows = np.flatnonzero(mask.any(1))
        if not len(rows):
            raise InputError(f"masks[{i}] is empty: expected at least one pixel")
        left = mask[rows].argmax(1)
        right = mask.shape[1] - mask[rows, ::-1].argmax(1)
        # The outer corners of the first and last pixel of each row span the mask's convex hull.
        x = np.concatenate([left, left, right, right])
        y = np.concatenate([rows, rows + 1, rows, rows + 1])
        rectangle = cv2.minAreaRect(np.stack([x, y], 1).astype(np.float32))
        corners[i] = torch.from_numpy(cv2.boxPoints(rectangle))
    return _clockwise(corners)


def rle_rectangle(code: dict) -> Tensor:
    """Compute the oriented rectangle of least area around one encoded mask, without a bitmap of the whole image.

    Args:
        code: COCO RLE of a mask with at least one pixel.

    Returns:
        (4, 2) float32 XY, image pixels, clockwise as displayed.

    Raises:
        InputError: the mask is empty.
    """
    x, y, width, height = rle_box(code)
    crop = np.ascontiguousarray(decode_crop(code, (x, y, x + width, y + height)))
    return minimum_area_rectangles(torch.from_numpy(crop)[None])[0] + torch.tensor([x, y])


def rectangle_sides(corners: Tensor) -> tuple[float, float]:
    """Measure a rectangle.

    Args:
        corners: (4, 2) XY, pixels, consecutive corners.

    Returns:
        Its shorter and its longer side, pixels.
    """
    lengths = (corners[1:3] - corners[:2]).norm(dim=1).tolist()
    return min(lengths), max(lengths)


def jitter_oriented_boxes(corners: Tensor, jitter: float, generator: torch.Generator | None = None) -> Tensor:
    """Shift every side at random along the box's own axes, as in a loosely drawn oriented box.

    Args:
        corners: (N, 4, 2) XY, pixels, consecutive corners.
        jitter: largest shift of a side, as a fraction of the box's extent across it; below 0.5, so that no box inverts.
        generator: source of randomness; None for torch's default generator.

    Returns:
        (N, 4, 2) XY, pixels; may leave the image.
    """
    right, down = corners[:, 1] - corners[:, 0], corners[:, 3] - corners[:, 0]
    shift = jitter * (2 * torch.rand(len(corners), 4, 1, generator=generator) - 1)
    left, top, more_right, more_down = shift.unbind(1)
    origin = corners[:, 0] + left * right + top * down
    wider, higher = (1 + more_right - left) * right, (1 + more_down - top) * down
    return torch.stack([origin, origin + wider, origin + wider + higher, origin + higher], 1)


def _rotated_corners(boxes: Tensor) -> Tensor:
    """(N, 5) -> (N, 4, 2), clockwise as displayed."""
    centre, size, angle = boxes[:, None, :2], boxes[:, None, 2:4], boxes[:, 4:] * (math.pi / 180)
    dx, dy = (size * boxes.new_tensor([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])).unbind(2)
    cos, sin = angle.cos(), angle.sin()
    return centre + torch.stack([dx * cos + dy * sin, dy * cos - dx * sin], 2)


def _clockwise(corners: Tensor) -> Tensor:
    """Corners in any order -> in the order of their angle around the centre."""
    offset = corners - corners.mean(1, keepdim=True)
    order = torch.atan2(offset[..., 1], offset[..., 0]).argsort(1)
    return corners.gather(1, order[..., None].expand(-1, -1, 2))


def _areas(corners: Tensor) -> Tensor:
    x, y = corners.double().unbind(2)
    return (x * y.roll(-1, 1) - y * x.roll(-1, 1)).sum(1) / 2


def _more_horizontal(first: Tensor, second: Tensor) -> Tensor:
    """Whether the first of two axes is nearer to horizontal; of two diagonal ones, whether it is the falling one."""
    steeper = first[:, 1].abs() - first[:, 0].abs()
    diagonal = steeper.abs() <= 1e-4 * first.norm(dim=1)
    return torch.where(diagonal, first[:, 0] * first[:, 1] > 0, steeper < 0)
