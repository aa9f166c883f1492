"""Detectron2's dataset dicts: the image of one, and the ground truth in its annotations."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from detectron2.structures import BoxMode

from insight.data.formats.images import read_image
from insight.errors import InputError


def read_entry_image(dataset_dict: dict, image_format: str) -> np.ndarray:
    """Read and check the image of a dataset dict.

    Args:
        dataset_dict: with "file_name", and optionally "height" and "width".
        image_format: "RGB" or "BGR", as in INPUT.FORMAT.

    Returns:
        (H, W, 3) uint8.

    Raises:
        OSError: the file is missing, truncated or not an image.
        InputError: the image differs in size from the dataset dict, its pixels are not 8-bit, or the format is unknown.
    """
    if image_format not in ("RGB", "BGR"):
        raise InputError(f'image_format (INPUT.FORMAT): expected "RGB" or "BGR", got {image_format!r}')
    path = dataset_dict["file_name"]
    image = read_image(path)
    if image_format == "BGR":
        image = image[:, :, ::-1]
    height, width = image.shape[:2]
    expected = (dataset_dict.get("height", height), dataset_dict.get("width", width))
    if (height, width) != expected:
        raise InputError(
            f"{path}: the image is {width} x {height} pixels, its annotation file states {expected[1]} x {expected[0]}"
        )
    return image


def objects_with_masks(dataset_dict: dict[str, Any]) -> list[dict[str, Any]]:
    """Select the annotations of single objects that have a mask.

    Args:
        dataset_dict: Detectron2's dataset dict.

    Returns:
        The annotations, without crowds, in order.
    """
    return [a for a in dataset_dict["annotations"] if not a.get("iscrowd", 0) and a.get("segmentation")]


def ground_truth_boxes(annotations: Sequence[dict[str, Any]]) -> np.ndarray:
    """Return the boxes of annotations.

    Args:
        annotations: N annotations of a Detectron2 dataset dict.

    Returns:
        (N, 4) float32 XYXY, image pixels.
    """
    boxes = [BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS) for a in annotations]
    return np.array(boxes, np.float32).reshape(-1, 4)
