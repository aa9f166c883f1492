"""What the annotations of a COCO file hold, in the forms that other formats need."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from insight.structures.oriented_boxes import oriented_corners
from insight.structures.polygons import mask_rings
from insight.structures.rle import decode_crop, rle_box, segmentation_to_rle


def objects_by_image(
    content: dict[str, Any], losses: Counter[str], one_shape: bool = False
) -> dict[Any, list[dict[str, Any]]]:
    """Group annotations by their image, without crowd regions, which no other format has.

    Args:
        content: a COCO dictionary.
        losses: gets the number of crowd regions and of scores, which are left out.
        one_shape: the format holds either an object's mask or its box; oriented boxes beside masks are counted too.

    Returns:
        The annotations of each image by its id, in their order; an empty list for an image without any.
    """
    found: dict[Any, list] = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        if annotation.get("iscrowd", 0):
            losses["crowd regions left out"] += 1
            continue
        losses["scores left out"] += "score" in annotation
        if one_shape and annotation.get("segmentation"):
            losses["oriented boxes left out"] += "oriented_box" in annotation
        found[annotation["image_id"]].append(annotation)
    return found


def mask_code(annotation: dict[str, Any], size: tuple[int, int]) -> dict | None:
    """Return an annotation's mask.

    Args:
        annotation: from `read_coco`.
        size: (height, width) of the image in pixels.

    Returns:
        COCO's compressed RLE, or None if there is no mask.
    """
    segmentation = annotation.get("segmentation")
    return segmentation_to_rle(segmentation, size) if segmentation else None


def mask_outlines(annotation: dict[str, Any], size: tuple[int, int]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Return the outlines of an annotation's mask: its polygons as they are, or along the pixels of an RLE.

    Args:
        annotation: from `read_coco`.
        size: (height, width) of the image in pixels.

    Returns:
        The outlines of its parts and of its holes, (P, 2) arrays XY in pixels each; none without a mask.
    """
    segmentation = annotation.get("segmentation")
    if not segmentation:
        return [], []
    if isinstance(segmentation, list):
        return [np.array(ring, float).reshape(-1, 2) for ring in segmentation], []
    crop, (x, y) = mask_crop(annotation, size)
    return mask_rings(crop, (x, y))


def mask_crop(annotation: dict[str, Any], size: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int]]:
    """Decode the part of the image that an annotation's mask is in.

    Args:
        annotation: with a mask.
        size: (height, width) of the image in pixels.

    Returns:
        (h, w) bool, and (x, y) of its first pixel in the image; without pixels for an empty mask.
    """
    code = mask_code(annotation, size)
    assert code is not None
    x, y, width, height = rle_box(code)
    return decode_crop(code, (x, y, x + width, y + height)), (x, y)


def box_corners_of(annotation: dict[str, Any], size: tuple[int, int]) -> tuple[np.ndarray, str]:
    """Return an annotation's box: the oriented one, else the smallest rectangle around the mask, else the horizontal.

    Args:
        annotation: from `read_coco`.
        size: (height, width) of the image in pixels.

    Returns:
        (4, 2) XY in pixels, clockwise as displayed, from the first corner that is given, and "oriented_box", "mask" or
        "bbox", what it was made of.
    """
    if "oriented_box" in annotation:
        return _clockwise(annotation["oriented_box"]), "oriented_box"
    outlines, _ = mask_outlines(annotation, size)
    if outlines:
        points = np.concatenate(outlines)
        origin = points.min(0)  # float32, which OpenCV computes in, has few digits far from it
        rectangle = cv2.boxPoints(cv2.minAreaRect((points - origin).astype(np.float32)))
        if cv2.contourArea(rectangle) > 0:
            return oriented_corners(rectangle)[0].double().numpy() + origin, "mask"
    x, y, width, height = annotation["bbox"]
    return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], float), "bbox"


def _clockwise(oriented_box: Sequence[float]) -> np.ndarray:
    corners = np.array(oriented_box, float)
    if len(corners) == 8:
        corners = corners.reshape(4, 2)
        sides = np.roll(corners, -1, 0) - corners
        turns = sides[:, 0] * np.roll(sides[:, 1], -1) - sides[:, 1] * np.roll(sides[:, 0], -1)
        if (turns > 0).all():
            return corners
        if (turns < 0).all():
            return corners[[0, 3, 2, 1]]
    return oriented_corners([oriented_box])[0].double().numpy()


def is_rotated(corners: np.ndarray) -> bool:
    """Return whether a box (4, 2) is not parallel to the axes, by a hundredth of a pixel."""
    sides = np.abs(np.roll(corners, -1, 0) - corners)
    return bool((sides.min(1) > 0.01).any())


def bounds(points: np.ndarray) -> list[float]:
    """Return [x, y, width, height] around points (P, 2)."""
    low, high = points.min(0), points.max(0)
    return [*low.tolist(), *(high - low).tolist()]


def joined(outlines: Sequence[np.ndarray]) -> np.ndarray:
    """Join the parts of an object to one outline, by lines there and back between their nearest corners.

    Formats with one polygon per object, such as YOLO's, hold several parts in this way; the lines have no area.

    Args:
        outlines: at least one (P, 2) array XY.

    Returns:
        (Q, 2) XY.
    """
    whole = outlines[0]
    for part in outlines[1:]:
        distances = ((whole[:, None] - part[None]) ** 2).sum(2)
        i, j = np.unravel_index(int(distances.argmin()), distances.shape)
        rolled = np.roll(part, -int(j), 0)
        whole = np.concatenate([whole[: i + 1], rolled, rolled[:1], whole[i:]])
    return whole
