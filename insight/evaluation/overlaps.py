"""IoU of the detections with the annotations of many images, in several processes."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from pycocotools import mask as coco_mask

from insight.runtime.processes import map_in_processes, usable_cores
from insight.structures.rle import rle_area, rle_box, segmentation_to_rle

from .boundary import boundary_of

_IMAGES_A_PROCESS = 100  # below, starting a process costs more than it saves


@dataclass(frozen=True)
class ImageToCompare:
    """The annotations and detections of one image.

    Args:
        size: (height, width) in pixels.
        annotations: COCO annotations.
        detections: COCO detections, by falling score.
    """

    size: tuple[int, int]
    annotations: list[dict]
    detections: list[dict]


@dataclass(frozen=True)
class Overlaps:
    """How the detections of one image meet its annotations.

    Args:
        ious: by category that has both, (D, G) float64 IoU of its detections and annotations, in their order; with a
            crowd, the share of the detection that is inside.
        areas: of each detection, square pixels.
    """

    ious: dict[int, np.ndarray]
    areas: list[float]


def measure_overlaps(images: Sequence[ImageToCompare], task: str, boundary_ratio: float) -> list[Overlaps]:
    """Compute the IoUs of images as pycocotools does; those of masks in as many processes as there are cores.

    Args:
        images: what to compare.
        task: "bbox", "segm" or "boundary". A detection without a box is compared by the box around its mask; an
            annotation without a mask has an empty one.
        boundary_ratio: width of a boundary as a fraction of the image's diagonal, for "boundary".

    Returns:
        The overlaps of each image.
    """
    if task == "bbox":
        return [_of_boxes(image) for image in images]
    measure = partial(_of_masks, ratio=boundary_ratio if task == "boundary" else None)
    workers = min(usable_cores(), len(images) // _IMAGES_A_PROCESS)
    if workers < 2:
        return [measure(image) for image in images]
    description = "Comparing boundaries" if task == "boundary" else "Comparing masks"
    return list(map_in_processes(measure, images, description, "image", workers))


def _of_boxes(image: ImageToCompare) -> Overlaps:
    truth = [annotation["bbox"] for annotation in image.annotations]
    found = [detection.get("bbox") or rle_box(detection["segmentation"]) for detection in image.detections]
    ious = {}
    for category, columns, rows, crowds in _pairs(image):
        ious[category] = coco_mask.iou([found[i] for i in rows], [truth[i] for i in columns], crowds)
    return Overlaps(ious, [box[2] * box[3] for box in found])


def _of_masks(image: ImageToCompare, ratio: float | None) -> Overlaps:
    found = [detection["segmentation"] for detection in image.detections]
    ious = {}
    for category, columns, rows, crowds in _pairs(image):
        truth = [_mask(image.annotations[i].get("segmentation"), image.size) for i in columns]
        ious[category] = coco_mask.iou([found[i] for i in rows], truth, crowds)
        if ratio is not None:
            boundaries = [boundary_of(found[i], ratio) for i in rows], [boundary_of(code, ratio) for code in truth]
            bounds = np.where(crowds, np.inf, coco_mask.iou(*boundaries, [0] * len(crowds)))
            ious[category] = np.minimum(ious[category], bounds)
    return Overlaps(ious, [float(rle_area(code)) for code in found])


def _pairs(image: ImageToCompare) -> list[tuple[int, list[int], list[int], list[int]]]:
    """For each category that is annotated and detected: it, its annotations, its detections, which are crowds."""
    columns: dict[int, list[int]] = defaultdict(list)
    rows: dict[int, list[int]] = defaultdict(list)
    for places, entries in ((columns, image.annotations), (rows, image.detections)):
        for position, entry in enumerate(entries):
            places[entry["category_id"]].append(position)
    return [
        (category, own, rows[category], [int(image.annotations[i].get("iscrowd", 0)) for i in own])
        for category, own in columns.items()
        if category in rows
    ]


def _mask(segmentation: list | dict | None, size: tuple[int, int]) -> dict:
    if segmentation:
        return segmentation_to_rle(segmentation, size)
    return coco_mask.frPyObjects({"size": list(size), "counts": [size[0] * size[1]]}, *size)
