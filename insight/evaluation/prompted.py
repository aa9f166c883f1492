"""How well masks fit that were predicted from ground-truth boxes."""

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode
from pycocotools import mask as coco_mask
from tqdm import tqdm

from insight.data.mappers import read_image

from .coco import masks_to_rle


class PromptedIoU:
    """Collects mask IoUs: their mean over instances, and over classes of each class's mean.

    Args:
        class_names: by class index.
    """

    def __init__(self, class_names: Sequence[str]):
        self.class_names = list(class_names)
        self._ious: dict[int, list[float]] = defaultdict(list)

    def update(self, predicted, truth, classes: Sequence[int]) -> None:
        """Take one image.

        Args:
            predicted: N masks, one for each box in order: (N, H, W) bool or a sequence of COCO RLE.
            truth: N true masks, in the same forms.
            classes: N class indices.

        Raises:
            ValueError: the lengths differ.
        """
        predicted, truth = masks_to_rle(predicted), masks_to_rle(truth)
        if not len(predicted) == len(truth) == len(classes):
            raise ValueError(
                f"expected as many predicted masks as true masks and classes, "
                f"got {len(predicted)}, {len(truth)} and {len(classes)}"
            )
        for one, other, label in zip(predicted, truth, classes):
            self._ious[int(label)].append(float(coco_mask.iou([one], [other], [0])[0, 0]))

    def result(self) -> dict[str, float]:
        """The metrics, in percent.

        Returns:
            "mIoU" over instances, "class mIoU" over the classes that occur, and "IoU-CLASS" of each of them; the first
            two are NaN without any instance.
        """
        by_class = {self.class_names[k]: 100 * float(np.mean(v)) for k, v in sorted(self._ious.items())}
        every = [iou for ious in self._ious.values() for iou in ious]
        return {
            "mIoU": 100 * float(np.mean(every)) if every else float("nan"),
            "class mIoU": float(np.mean(list(by_class.values()))) if by_class else float("nan"),
            **{f"IoU-{name}": value for name, value in by_class.items()},
        }


def evaluate_prompted(
    predict: Callable[[np.ndarray, np.ndarray], object], dataset_name: str, image_format: str = "BGR"
) -> dict[str, float]:
    """Prompt with every ground-truth box of a data set and compare the masks.

    Args:
        predict: (image (H, W, 3) uint8, boxes (N, 4) float XYXY in pixels) -> N masks in order, (N, H, W) bool or a
            sequence of COCO RLE.
        dataset_name: registered data set with masks.
        image_format: order of the channels that `predict` expects.

    Returns:
        See PromptedIoU.result.
    """
    dicts = DatasetCatalog.get(dataset_name)
    metric = PromptedIoU(MetadataCatalog.get(dataset_name).thing_classes)
    for entry in tqdm(dicts, "Prompting with true boxes", unit="image"):
        annotations = [a for a in entry["annotations"] if not a.get("iscrowd", 0) and a.get("segmentation")]
        if not annotations:
            continue
        boxes = np.array([BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS) for a in annotations])
        size = (entry["height"], entry["width"])
        truth = [annotation_to_rle(a["segmentation"], size) for a in annotations]
        predicted = predict(read_image(entry, image_format), boxes)
        metric.update(predicted, truth, [a["category_id"] for a in annotations])
    return metric.result()


def annotation_to_rle(segmentation: list | dict, size: tuple[int, int]) -> dict:
    """Polygons or RLE of a dataset dict as one COCO RLE of the whole image.

    Args:
        segmentation: polygons [[x, y, ...], ...] or RLE.
        size: (height, width) of the image.
    """
    if isinstance(segmentation, dict):
        return segmentation
    return coco_mask.merge(coco_mask.frPyObjects(segmentation, *size))
