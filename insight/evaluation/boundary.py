"""Boundary IoU: how well the outlines of two masks agree.

Source: Cheng et al., "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation", CVPR 2021; details as in
the authors' code (boundary-iou-api).
"""

import math

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from insight.errors import InputError
from insight.structures.oriented_boxes import rectangle_sides, rle_rectangle
from insight.structures.rle import decode_crop, encode_crop, masks_to_rle, rle_area, rle_box

BOUNDARY_RATIO = 0.005  # of SOPSeg, for small objects; Cheng et al. use 0.02


def boundary_distance(canvas: tuple[int, int], ratio: float = BOUNDARY_RATIO) -> int:
    """Compute how far a boundary extends into its mask.

    Args:
        canvas: (height, width) in pixels of the canvas that the ratio refers to, usually the image.
        ratio: distance as a fraction of the canvas's diagonal.

    Returns:
        Pixels, at least 1.

    Raises:
        InputError: the ratio is not positive.
    """
    if not ratio > 0:
        raise InputError(f"ratio of boundary IoU: expected a number above 0, got {ratio}")
    return max(1, round(ratio * math.hypot(*canvas)))


def is_all_boundary(truth: dict, ratio: float = BOUNDARY_RATIO) -> bool:
    """Return whether the boundary distance exceeds half an object's short side.

    All of such an object is boundary, so its boundary IoU is its mask IoU.

    Args:
        truth: COCO RLE of the object's mask.
        ratio: distance as a fraction of the image's diagonal.

    Returns:
        True if it does; False for an empty mask. The short side is that of the rectangle of least area around the mask.
    """
    if not rle_area(truth):
        return False
    height, width = truth["size"]
    return 2 * boundary_distance((height, width), ratio) > rectangle_sides(rle_rectangle(truth))[0]


def boundary_of(code: dict, ratio: float = BOUNDARY_RATIO) -> dict:
    """Return the boundary of a mask, as `boundary_iou` defines it.

    Args:
        code: compressed COCO RLE of the mask.
        ratio: distance as a fraction of the image's diagonal.

    Returns:
        COCO RLE of the boundary.
    """
    x, y, width, height = rle_box(code)
    size = code["size"][0], code["size"][1]
    distance = boundary_distance(size, ratio)
    if min(width, height) <= 2 * distance:  # nothing lies deeper
        return code
    return encode_crop(_boundary(decode_crop(code, (x, y, x + width, y + height)), distance), (x, y), size)


def boundary_iou(predicted, truth, ratio: float = BOUNDARY_RATIO) -> np.ndarray:
    """Compute the intersection over union of the boundaries of pairs of masks.

    The boundary of a mask is its pixels that are at most d steps (in 8 directions) from a pixel outside the mask; no
    pixel outside the image is in a mask. The canvas is the image: d = boundary_distance((H, W), ratio).

    Each pair is computed in a window, so the time depends on the size of the objects rather than of the image.

    Args:
        predicted: N masks, (N, H, W) bool or a sequence of COCO RLE.
        truth: N masks, in the same forms.
        ratio: distance d as a fraction of the image's diagonal.

    Returns:
        (N,) float64; 0 where both masks are empty.

    Raises:
        InputError: the lengths or the sizes of the images differ, or the ratio is not positive.
    """
    predicted, truth = masks_to_rle(predicted), masks_to_rle(truth)
    if len(predicted) != len(truth):
        raise InputError(f"expected as many predicted masks as true masks, got {len(predicted)} and {len(truth)}")
    return np.array([_pair(one, other, ratio) for one, other in zip(predicted, truth)], dtype=np.float64)


def _pair(one: dict, other: dict, ratio: float) -> float:
    if one["size"] != other["size"]:
        raise InputError(f"expected masks of one image, got sizes {one['size']} and {other['size']} (height, width)")
    boxes = coco_mask.toBbox([one, other]).astype(int)
    boxes = boxes[boxes[:, 2] > 0]  # the box of an empty mask lies at the image's corner
    if not len(boxes):
        return 0.0
    lows, highs = boxes[:, :2].min(0), (boxes[:, :2] + boxes[:, 2:]).max(0)
    distance = boundary_distance(one["size"], ratio)
    first, second = (_boundary(decode_crop(code, (*lows, *highs)), distance) for code in (one, other))
    return float((first & second).sum() / (first | second).sum())


def _boundary(mask: np.ndarray, distance: int) -> np.ndarray:
    """The boundary of a mask in a window that holds all of it: beyond the window, as beyond the image, is no mask."""
    side = 2 * distance + 1
    eroded = cv2.erode(
        np.ascontiguousarray(mask, np.uint8),
        cv2.getStructuringElement(cv2.MORPH_RECT, (side, side)),
        borderType=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    return mask & (eroded == 0)
