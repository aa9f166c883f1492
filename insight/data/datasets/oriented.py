"""Folders of oriented boxes as Detectron2 data sets: boxes without masks, each with its corners."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

from ..file_check import FileCheck, first
from ..images import image_size
from ..oriented import find_oriented, read_oriented

_logger = logging.getLogger(__name__)


def register_oriented(name: str, folder: Path, classes: Sequence[str], split: str = "") -> None:
    """Register a folder of oriented boxes under a name. Nothing is read before the data set is used.

    Args:
        name: what DATASETS.TRAIN and DATASETS.TEST call it.
        folder: in one of the layouts that `find_oriented` knows.
        classes: the names of the classes, as the files spell them.
        split: see `find_oriented`.
    """
    DatasetCatalog.register(name, partial(load_oriented, folder, classes, split))
    metadata = MetadataCatalog.get(name)
    metadata.set(thing_classes=list(classes), oriented_folder=str(folder), split=split, evaluator_type="coco")


def load_oriented(folder: Path, classes: Sequence[str], split: str = "") -> list[dict]:
    """Read a folder of oriented boxes.

    Boxes without area are left out, with one warning. Images without boxes are kept.

    Args:
        folder: in one of the layouts that `find_oriented` knows.
        classes: the names of the classes, as the files spell them.
        split: see `find_oriented`.

    Returns:
        Detectron2's dataset dicts in order of the label files. "bbox" is the horizontal box around the oriented one,
        "oriented_box" the corners x1, y1 ... x4, y4 as in the file, "difficult" its mark.

    Raises:
        OSError, ValueError: what is wrong with the folder or a file, in one line.
    """
    index = {name: i for i, name in enumerate(classes)}
    dicts, empty = [], []
    for image_id, (image, label) in enumerate(find_oriented(folder, split), start=1):
        labels = read_oriented(label)
        FileCheck(label).fails_if_any(
            (name for name in labels.class_names if name not in index), f"classes are {', '.join(classes)}"
        )
        height, width = image_size(image)
        annotations = []
        for corners, name, difficult in zip(labels.corners, labels.class_names, labels.difficult.tolist()):
            (x1, y1), (x2, y2) = corners.min(0).tolist(), corners.max(0).tolist()
            if x1 == x2 or y1 == y2:
                empty.append(label.name)
                continue
            annotations.append(
                {
                    "bbox": [x1, y1, x2, y2],
                    "bbox_mode": BoxMode.XYXY_ABS,
                    "category_id": index[name],
                    "iscrowd": 0,
                    "oriented_box": corners.ravel().tolist(),
                    "difficult": difficult,
                }
            )
        dicts.append(
            {
                "file_name": str(image),
                "image_id": image_id,
                "height": height,
                "width": width,
                "annotations": annotations,
            }
        )
    if empty:
        _logger.warning(f"{folder}: left out {len(empty)} boxes without area, in {first(dict.fromkeys(empty))}")
    return dicts
