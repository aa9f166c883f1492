"""Reading label maps: images that hold the class of every pixel."""

import logging
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from insight.errors import InputError
from insight.modeling.roi_heads.scnet.semantic_labels import IGNORED
from insight.runtime.processes import map_in_processes

from .file_check import SKIP_HINT_IN_CONFIG, first
from .images import open_image

_logger = logging.getLogger(__name__)

Map = tuple[Path, tuple[int, int]]  # the file, and the (height, width) of its image


def read_label_map(path: str | os.PathLike, size: tuple[int, int], num_classes: int = IGNORED) -> np.ndarray:
    """Read a label map: one band of 8 bits, or a palette's indices; IGNORED marks pixels without a label.

    Args:
        path: the file.
        size: (height, width) of its image, pixels.
        num_classes: number of labels.

    Returns:
        (H, W) uint8.

    Raises:
        OSError: the file is missing, truncated or of an unknown format.
        InputError: the label map has the wrong bands or size, or labels out of range.
    """
    with open_image(path, "label map") as image:
        if image.mode not in ("L", "P"):
            raise InputError(f"{path}: expected a label map of one band of 8 bits, got {image.mode}")
        labels = np.asarray(image)
    if labels.shape != size:
        found, expected = (f"{w} x {h}" for h, w in (labels.shape, size))
        raise InputError(f"{path}: the label map is {found} pixels, its image {expected}")
    strange = np.unique(labels[(labels >= num_classes) & (labels != IGNORED)])
    if len(strange):
        raise InputError(
            f"{path}: label {strange[0]} is out of range: expected 0 to {num_classes - 1}, or {IGNORED} for unlabelled "
            "pixels; MODEL.SCNET.SEMANTIC.NUM_CLASSES is the number of labels in files"
        )
    return labels


def unusable_label_maps(maps: Iterable[Map], num_classes: int = IGNORED) -> dict[Map, str]:
    """Read label maps in several processes.

    Args:
        maps: the label maps; each is read once.
        num_classes: number of labels.

    Returns:
        For each unusable label map, one line that names it and says what is wrong.
    """
    maps = list(dict.fromkeys(maps))
    found = map_in_processes(_wrong, [(*one, num_classes) for one in maps], "Reading label maps", "map")
    return {one: wrong for one, wrong in zip(maps, found) if wrong is not None}


def with_usable_label_maps(
    dicts: list[dict], num_classes: int, strict: bool = True, needed: bool = False
) -> list[dict]:
    """Select the training images whose label maps, where they have any, can be used.

    Args:
        dicts: Detectron2's dataset dicts, optionally with "sem_seg_file_name".
        num_classes: number of labels of the model's semantic branch.
        strict: raise if a file is missing, without reading the files; otherwise read them all and leave out images
            whose map cannot be used, with one warning.
        needed: whether the branch has no other supervision.

    Returns:
        The dataset dicts of the images.

    Raises:
        InputError: label maps cannot be used, or none exists although needed.
    """
    by_image = [_map(d) for d in dicts]
    maps = [one for one in dict.fromkeys(by_image) if one is not None]
    if needed and not maps:
        raise InputError(
            "DATASETS.TRAIN: no image has a sem_seg_file_name, whose number of labels "
            "MODEL.SCNET.SEMANTIC.NUM_CLASSES is; set it to 0 to train on the classes of the instances"
        )
    if strict:
        wrong = {(path, size): f"no such label map: {path}" for path, size in maps if not path.is_file()}
    else:
        wrong = unusable_label_maps(maps, num_classes)
    if not wrong:
        return dicts
    reason = f"{len(wrong)} of {len(maps)} label maps for the semantic branch cannot be used: {first(wrong.values())}"
    kept = [d for d, one in zip(dicts, by_image) if one not in wrong]
    if strict or not kept:
        raise InputError(
            f"DATASETS.TRAIN: {reason}{f'; {SKIP_HINT_IN_CONFIG}' if strict else ', and no image is left'}"
        )
    _logger.warning(f"DATASETS.TRAIN: left out images: {reason}")
    return kept


def _map(image: dict) -> Map | None:
    if "sem_seg_file_name" not in image:
        return None
    return Path(image["sem_seg_file_name"]), (image["height"], image["width"])


def _wrong(work: tuple[Path, tuple[int, int], int]) -> str | None:
    try:
        read_label_map(*work)
    except (OSError, ValueError) as error:
        return str(error)
    return None
