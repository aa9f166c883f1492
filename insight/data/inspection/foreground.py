"""Foreground ratio of images, as in Table I of Insight Any Instance, for any COCO file."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from insight.data.formats.coco import read_coco
from insight.data.formats.file_check import FileCheck
from insight.errors import InputError
from insight.runtime.processes import map_in_processes
from insight.structures.rle import rle_area, rle_union, segmentation_to_rle

TABLE_EDGES = (0.0, 0.1, 0.2, 1.0)  # of Table I


def foreground_ratios(annotations: Path, check: FileCheck | None = None) -> np.ndarray:
    """Compute the share of each image's pixels that instances cover; pixels shared by two count once.

    In a file without masks an annotation covers its box. Images without annotations count, with 0.

    Args:
        annotations: COCO JSON file; the images are not needed.
        check: how to treat mistakes, see `read_coco`.

    Returns:
        (N,) float64, 0 to 1, by increasing image id.

    Raises:
        OSError, InputError: see `read_coco`; or the file has no image.

    Source: Insight Any Instance, Table I.
    """
    content = read_coco(annotations, check=check)
    if not content["images"]:
        raise InputError(f"{annotations}: no images")
    masks: dict = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        masks[annotation["image_id"]].append(annotation.get("segmentation") or annotation["bbox"])
    work = [((image["height"], image["width"]), masks[image["id"]]) for image in content["images"]]
    return np.array(list(map_in_processes(_ratio, work, f"Measuring {Path(annotations).name}", "image")))


def shares(ratios: np.ndarray, edges: Sequence[float] = TABLE_EDGES) -> np.ndarray:
    """Compute the share of images in each interval of ratios.

    Args:
        ratios: (N,) float, 0 to 1.
        edges: B + 1 increasing bounds of the intervals; each includes its lower bound, the last one both.

    Returns:
        (B,) float64, summing to 1.
    """
    return np.histogram(ratios, edges)[0] / len(ratios)


def _ratio(work: tuple[tuple[int, int], list]) -> float:
    (height, width), masks = work
    codes = []
    for mask in masks:
        if isinstance(mask, list) and not isinstance(mask[0], list):  # a box
            x, y, w, h = mask
            mask = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        codes.append(segmentation_to_rle(mask, (height, width)))
    return rle_area(rle_union(codes)) / (height * width) if codes else 0.0
