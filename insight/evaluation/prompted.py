"""IoU of masks predicted from ground-truth boxes."""

import math
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from pycocotools import mask as coco_mask
from tabulate import tabulate

from insight.data.entries import ground_truth_boxes, objects_with_masks, read_entry_image
from insight.errors import InputError
from insight.runtime.progress import progress
from insight.structures.rle import masks_to_rle, segmentation_to_rle

from .boundary import BOUNDARY_RATIO, boundary_distance, boundary_iou, is_all_boundary
from .coco import require_masks


class PromptedIoU:
    """Collects IoU and boundary IoU of masks and averages them over instances and over classes.

    Args:
        class_names: class names in the order of the class indices.
        boundary_ratio: distance of boundary IoU as a fraction of the image's diagonal.

    Attributes:
        instances: a dict per instance: image_id, index (in its image), class (index), iou, boundary_iou, and
            all_boundary (see `is_all_boundary`).
        sizes: (height, width) of the images.
    """

    def __init__(self, class_names: Sequence[str], boundary_ratio: float = BOUNDARY_RATIO):
        self.class_names = list(class_names)
        self.boundary_ratio = boundary_ratio
        self.instances: list[dict] = []
        self.sizes: set[tuple[int, int]] = set()

    def update(self, predicted, truth, classes: Sequence[int], image_id: int | str | None = None) -> None:
        """Add the masks of one image.

        Args:
            predicted: N masks in the order of the boxes: (N, H, W) bool or a sequence of COCO RLE.
            truth: N ground-truth masks, in the same forms.
            classes: N class indices.
            image_id: id of the image, kept in `instances`.

        Raises:
            InputError: the lengths or the sizes of the masks differ.
        """
        predicted, truth = masks_to_rle(predicted), masks_to_rle(truth)
        if not len(predicted) == len(truth) == len(classes):
            raise InputError(
                f"expected as many predicted masks as ground-truth masks and classes, "
                f"got {len(predicted)}, {len(truth)} and {len(classes)}"
            )
        boundary_ious = boundary_iou(predicted, truth, self.boundary_ratio).tolist()
        for index, (one, other, label) in enumerate(zip(predicted, truth, classes)):
            self.instances.append({
                "image_id": image_id, "index": index, "class": int(label),
                "iou": float(coco_mask.iou([one], [other], [0])[0, 0]), "boundary_iou": boundary_ious[index],
                "all_boundary": is_all_boundary(other, self.boundary_ratio),
            })  # fmt: skip
            self.sizes.add(tuple(other["size"]))

    def merge(self, other: "PromptedIoU") -> None:
        """Add the instances of another one with the same classes and ratio."""
        self.instances += other.instances
        self.sizes |= other.sizes

    def result(self) -> dict[str, float]:
        """Compute the metrics, in percent.

        Returns:
            "mIoU" and "boundary mIoU" over instances, "class mIoU" and "class boundary mIoU" over the classes that
            occur, "instances", and "all boundary instances", those whose boundary distance exceeds half their short
            side; the means are NaN without instances. For each class that occurs, "IoU-CLASS", "boundary IoU-CLASS" and
            "instances-CLASS".
        """
        result = {}
        for name, key in (("", "iou"), ("boundary ", "boundary_iou")):
            by_class = {k: float(np.mean(v)) for k, v in self._by_class(key).items()}
            result[f"{name}mIoU"] = _mean([instance[key] for instance in self.instances])
            result[f"class {name}mIoU"] = _mean(list(by_class.values()))
            result.update((f"{name}IoU-{self.class_names[k]}", 100 * v) for k, v in by_class.items())
        result["instances"] = float(len(self.instances))
        result["all boundary instances"] = float(sum(instance["all_boundary"] for instance in self.instances))
        result.update((f"instances-{self.class_names[k]}", float(len(v))) for k, v in self._by_class("iou").items())
        return result

    def boundary_settings(self) -> str:
        """Describe the settings of boundary IoU, such as "ratio 0.005, canvas 512 x 512: 4 px" (width x height).

        Says also for how many instances the distance exceeds half the short side.
        """
        if not self.sizes:
            return "no instances"
        ordered = sorted(self.sizes, key=lambda size: (math.hypot(*size), size))
        canvases, distances = [], []
        for size in (ordered[0], ordered[-1]):
            canvases.append(f"{size[1]} x {size[0]}")
            distances.append(str(boundary_distance(size, self.boundary_ratio)))
        canvas, distance = (" to ".join(dict.fromkeys(ends)) for ends in (canvases, distances))
        narrow = sum(instance["all_boundary"] for instance in self.instances)
        return (
            f"ratio {self.boundary_ratio:g}, canvas {canvas}: {distance} px, more than half the short side of {narrow} "
            f"of {len(self.instances)} instances"
        )

    def report(self) -> str:
        """Format a table of the means and of each class."""
        result = self.result()
        rows = [("all instances", result["instances"], result["mIoU"], result["boundary mIoU"])]
        rows += [("mean of classes", None, result["class mIoU"], result["class boundary mIoU"])]
        for name in (self.class_names[k] for k in self._by_class("iou")):
            rows.append((name, *(result[f"{key}-{name}"] for key in ("instances", "IoU", "boundary IoU"))))
        table = tabulate(rows, ("", "instances", "IoU", "boundary IoU"), "simple", floatfmt=("", ".0f", ".2f", ".2f"))
        return f"boundary IoU: {self.boundary_settings()}\n{table}"

    def _by_class(self, key: str) -> dict[int, list[float]]:
        values = defaultdict(list)
        for instance in self.instances:
            values[instance["class"]].append(instance[key])
        return dict(sorted(values.items()))


def _mean(values: list[float]) -> float:
    return 100 * float(np.mean(values)) if values else float("nan")


def evaluate_prompted(
    predict: Callable[[np.ndarray, np.ndarray], object], dataset_name: str, image_format: str = "BGR"
) -> dict[str, float]:
    """Prompt with every ground-truth box of a dataset and compare the masks.

    Args:
        predict: (image (H, W, 3) uint8, boxes (N, 4) float XYXY in pixels) -> N masks in order, (N, H, W) bool or a
            sequence of COCO RLE.
        dataset_name: registered dataset with masks.
        image_format: channel order that `predict` expects.

    Returns:
        The metrics of `PromptedIoU.result`.

    Raises:
        InputError: the dataset has no masks.
    """
    require_masks(dataset_name)
    dicts = DatasetCatalog.get(dataset_name)
    metric = PromptedIoU(MetadataCatalog.get(dataset_name).thing_classes)
    for entry in progress(dicts, "Prompting with ground-truth boxes", "image"):
        annotations = objects_with_masks(entry)
        if not annotations:
            continue
        size = (entry["height"], entry["width"])
        truth = [segmentation_to_rle(a["segmentation"], size) for a in annotations]
        predicted = predict(read_entry_image(entry, image_format), ground_truth_boxes(annotations))
        metric.update(predicted, truth, [a["category_id"] for a in annotations], entry["image_id"])
    return metric.result()
