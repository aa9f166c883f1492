"""Reading detections from files, with the ids of a ground truth."""

import logging
from collections.abc import Callable
from pathlib import Path

from insight.data.formats.coco import plain_name, rle_fills, with_whole_size
from insight.data.formats.file_check import FileCheck, first, has, numbers, read_json, repeated
from insight.errors import InputError

_SECTIONS = ("images", "annotations", "categories")
_NEEDED = ("image_id", "category_id", "score")

_logger = logging.getLogger(__name__)


def read_detections(path: Path, truth: dict, partial: bool = False) -> list[dict]:
    """Read detections and translate their ids to those of a ground truth.

    Args:
        path: COCO detections: a list, as `CocoEvaluator` writes, or a COCO file with scores, as `insight predict`
            writes. In the latter, images are matched by file name without folders, and categories by name, ignoring
            case, spaces, hyphens and underscores.
        truth: COCO dictionary, the output of `insight.data.formats.coco.read_coco`.
        partial: leave out detections on images and of classes that the ground truth lacks, with a warning, instead of
            raising.

    Returns:
        Dicts with image_id, category_id, score and bbox (XYWH), segmentation (RLE), or both.

    Raises:
        InputError: the file is malformed; the message gives the number of bad entries and the first of them.
        OSError: the file is missing or cannot be read.
    """
    path = Path(path)
    content, check = read_json(path), FileCheck(path)
    if isinstance(content, dict) and all(isinstance(content.get(key), list) for key in _SECTIONS):
        entries = content["annotations"]
    elif isinstance(content, list):
        entries = content
    else:
        sections = ", ".join(_SECTIONS)
        raise InputError(f"{path}: expected detections: a list of them, or an object with the lists {sections}")
    indexed = list(enumerate(entries))

    def require(good: Callable[[dict], bool], reason: str, got: Callable[[dict], object] = lambda d: d) -> None:
        offenders = ((index, got(d)) for index, d in indexed if not good(d))
        check.fails_if_any((f"{first([value])} at index {index}" for index, value in offenders), reason)

    require(
        lambda d: has(d, *_NEEDED) and (d.get("bbox") or d.get("segmentation")),
        "detections need image_id, category_id, score, and bbox or segmentation",
    )
    require(
        lambda d: _is_id(d["image_id"]) and _is_id(d["category_id"]),
        "detections need an image_id and a category_id that are integers or strings",
        lambda d: {key: d[key] for key in ("image_id", "category_id")},
    )
    if isinstance(content, dict):
        images = _renumbered(check, "images", "file_name", _without_folders, content, truth, partial)
        categories = _renumbered(check, "categories", "name", plain_name, content, truth, partial)
        require(
            lambda d: d["image_id"] in images and d["category_id"] in categories,
            "annotations have an image_id or category_id that the file does not have",
        )
        indexed = [
            (index, {**d, "image_id": images[d["image_id"]], "category_id": categories[d["category_id"]]})
            for index, d in indexed
        ]
    sizes = {image["id"]: [image["height"], image["width"]] for image in truth["images"]}
    categories = {category["id"] for category in truth["categories"]}
    if partial:
        indexed = [(i, d) for i, d in indexed if d["image_id"] in sizes and d["category_id"] in categories]
        if len(indexed) < len(entries):
            left_out = len(entries) - len(indexed)
            _logger.warning(f"{path}: left out {left_out} detections on other images or of other classes")
    require(
        lambda d: d["image_id"] in sizes,
        "detections have an image_id that the ground truth does not have",
        lambda d: d["image_id"],
    )
    require(
        lambda d: d["category_id"] in categories,
        "detections have a category_id that the ground truth does not have",
        lambda d: d["category_id"],
    )
    require(
        _well_formed,
        "detections need a finite score, bbox [x, y, width >= 0, height >= 0] if any, segmentation as RLE if any",
        lambda d: {key: d[key] for key in ("score", "bbox", "segmentation") if key in d},
    )
    require(
        lambda d: not d.get("segmentation") or d["segmentation"]["size"] == sizes[d["image_id"]],
        "detections have an RLE of another size than their image",
        lambda d: d["segmentation"]["size"],
    )
    indexed = [(index, with_whole_size(d, sizes[d["image_id"]])) for index, d in indexed]
    require(
        lambda d: not d.get("segmentation") or rle_fills(**d["segmentation"]),
        "detections have an RLE whose runs are not integers of at least 0 that sum to the image's pixels",
        lambda d: d["segmentation"],
    )
    keys = (*_NEEDED, "bbox", "segmentation")
    return [{key: d[key] for key in keys if d.get(key) is not None} for _, d in indexed]


def _without_folders(file_name: str) -> str:
    return Path(str(file_name)).name


def _renumbered(
    check: FileCheck, section: str, key: str, plain: Callable[[str], str], content: dict, truth: dict, partial: bool
) -> dict:
    """For each id of a section, the ground-truth id with the same plain name, or None."""
    check.fails_if_any((e for e in content[section] if not has(e, "id", key)), f"{section} need id and {key}")
    check.fails_if_any(
        (e["id"] for e in content[section] if not _is_id(e["id"])),
        f"{section} need an id that is an integer or a string",
    )
    names = [plain(entry[key]) for entry in truth[section]]
    check.fails_if_any(repeated(names), f"the ground truth's {section} share {key}")
    known = dict(zip(names, (entry["id"] for entry in truth[section])))
    ids = {entry["id"]: known.get(plain(entry[key])) for entry in content[section]}
    if not partial:
        unknown = (entry[key] for entry in content[section] if ids[entry["id"]] is None)
        check.fails_if_any(unknown, f"{section} are not among the ground truth's")
    return ids


def _is_id(value: object) -> bool:
    return not isinstance(value, (list, dict))  # which cannot be looked up; other values that are no ids are not found


def _well_formed(detection: dict) -> bool:
    box, mask = detection.get("bbox"), detection.get("segmentation")
    return (
        numbers([detection["score"]], 1)
        and (not box or (numbers(box, 4) and len(box) == 4 and min(box[2:]) >= 0))
        and (not mask or (has(mask, "size", "counts") and isinstance(mask["counts"], str) and numbers(mask["size"], 2)))
    )
