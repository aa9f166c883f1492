"""Folders of oriented boxes as Detectron2 datasets, without masks."""

import logging
from collections.abc import Sequence
from pathlib import Path

from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

from insight.data.formats.decoding import UNDECODABLE, undecodable
from insight.data.formats.file_check import SKIP_HINT_IN_CONFIG, FileCheck
from insight.data.formats.oriented import read_folder
from insight.errors import InputError

from .coco import is_strict

_logger = logging.getLogger(__name__)


def register_oriented(name: str, folder: Path, classes: Sequence[str], split: str = "") -> None:
    """Register a folder of oriented boxes as a dataset. It is read when the dataset is first used.

    Args:
        name: name for DATASETS.TRAIN and DATASETS.TEST.
        folder: folder in one of the layouts of `find_oriented`.
        classes: the names of the classes, as the files spell them.
        split: see `find_oriented`.
    """
    DatasetCatalog.register(name, lambda: load_oriented(folder, classes, split, is_strict()))
    metadata = MetadataCatalog.get(name)
    metadata.set(thing_classes=list(classes), oriented_folder=str(folder), split=split, evaluator_type="coco")


def load_oriented(folder: Path, classes: Sequence[str], split: str = "", strict: bool = True) -> list[dict]:
    """Read a folder of oriented boxes.

    Boxes without area are left out, with one warning. Images without boxes are kept.

    Args:
        folder: folder in one of the layouts of `find_oriented`.
        classes: the names of the classes, as the files spell them.
        split: see `find_oriented`.
        strict: raise for bad files and boxes; otherwise leave them out, see `read_folder`, with one warning, as well as
            images that cannot be decoded, which are not checked in strict mode.

    Returns:
        Detectron2's dataset dicts in order of the label files. "bbox" is the horizontal box around the oriented one,
        "oriented_box" the corners x1, y1 ... x4, y4 as in the file, "difficult" its flag.

    Raises:
        OSError, InputError: the folder or a file cannot be used.
    """
    index = {name: i for i, name in enumerate(classes)}
    check = FileCheck(folder, strict, SKIP_HINT_IN_CONFIG)
    entries = list(read_folder(folder, classes, split, check))
    if not strict:
        wrong = undecodable({image: size for image, size, _ in entries})
        check.note(UNDECODABLE, wrong.values())
        entries = [entry for entry in entries if entry[0] not in wrong]
    dicts = []
    for image_id, (image, (height, width), labels) in enumerate(entries, start=1):
        annotations = []
        for corners, name, difficult in zip(labels.corners, labels.class_names, labels.difficult.tolist()):
            annotations.append(
                {
                    "bbox": [*corners.min(0).tolist(), *corners.max(0).tolist()],
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
    if check.problems:
        _logger.warning(check.summary())
    if not dicts:
        raise InputError(f"{folder}: no usable image")
    return dicts
