"""Reading detections from files, for one ground truth."""

import logging
from pathlib import Path

from insight.data.file_check import FileCheck, has, numbers, read_json, repeated

_SECTIONS = ("images", "annotations", "categories")
_NEEDED = ("image_id", "category_id", "score")

_logger = logging.getLogger(__name__)


def read_detections(path: Path, truth: dict, partial: bool = False) -> list[dict]:
    """Detections in terms of the image ids and category ids of a ground truth.

    Args:
        path: COCO detections, a list as `CocoEvaluator` writes it, or a COCO file with scores as `tools/predict.py`
            writes it. The latter's images are known by their file names, without folders, its categories by name.
        truth: COCO dictionary, as `insight.data.coco_file.read_coco` gives it.
        partial: the truth is a part of what was looked for: detections on other images and of other classes are left
            out, with a warning, instead of raising.

    Returns:
        Dicts with image_id, category_id, score and bbox (XYWH), segmentation (RLE), or both.

    Raises:
        ValueError: what is wrong with the file, in one line, with the number of offenders and the first of them.
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
        raise ValueError(f"{path}: expected detections: a list of them, or an object with the lists {sections}")
    check.fails_if_any(
        (d for d in entries if not has(d, *_NEEDED) or not (d.get("bbox") or d.get("segmentation"))),
        "detections need image_id, category_id, score, and bbox or segmentation",
    )
    if isinstance(content, dict):
        images = _renumbered(check, "images", "file_name", content, truth, partial)
        categories = _renumbered(check, "categories", "name", content, truth, partial)
        check.fails_if_any(
            (d for d in entries if d["image_id"] not in images or d["category_id"] not in categories),
            "annotations have an image_id or category_id that the file does not have",
        )
        entries = [
            {**d, "image_id": images[d["image_id"]], "category_id": categories[d["category_id"]]} for d in entries
        ]
    sizes = {image["id"]: [image["height"], image["width"]] for image in truth["images"]}
    categories = {category["id"] for category in truth["categories"]}
    if partial:
        count = len(entries)
        entries = [d for d in entries if d["image_id"] in sizes and d["category_id"] in categories]
        if len(entries) < count:
            _logger.warning(f"{path}: left out {count - len(entries)} detections on other images or of other classes")
    check.fails_if_any(
        (d["image_id"] for d in entries if d["image_id"] not in sizes),
        "detections have an image_id that the ground truth does not have",
    )
    check.fails_if_any(
        (d["category_id"] for d in entries if d["category_id"] not in categories),
        "detections have a category_id that the ground truth does not have",
    )
    check.fails_if_any(
        (d for d in entries if not _well_formed(d)),
        "detections need a finite score, bbox [x, y, width, height] if any, segmentation as RLE if any",
    )
    check.fails_if_any(
        (d for d in entries if d.get("segmentation") and d["segmentation"]["size"] != sizes[d["image_id"]]),
        "detections have an RLE of another size than their image",
    )
    keys = (*_NEEDED, "bbox", "segmentation")
    return [{key: d[key] for key in keys if d.get(key) is not None} for d in entries]


def _renumbered(check: FileCheck, section: str, key: str, content: dict, truth: dict, partial: bool) -> dict:
    """For each id of a section, the ground truth's id of what has the same name, None if there is none."""
    check.fails_if_any((e for e in content[section] if not has(e, "id", key)), f"{section} need id and {key}")
    names = [Path(str(entry[key])).name for entry in truth[section]]
    check.fails_if_any(repeated(names), f"the ground truth's {section} cannot be told apart by {key}")
    known = dict(zip(names, (entry["id"] for entry in truth[section])))
    ids = {entry["id"]: known.get(Path(str(entry[key])).name) for entry in content[section]}
    if not partial:
        unknown = (entry[key] for entry in content[section] if ids[entry["id"]] is None)
        check.fails_if_any(unknown, f"{section} are not among the ground truth's")
    return ids


def _well_formed(detection: dict) -> bool:
    box, mask = detection.get("bbox"), detection.get("segmentation")
    return (
        numbers([detection["score"]], 1)
        and (not box or (numbers(box, 4) and len(box) == 4))
        and (not mask or (has(mask, "size", "counts") and isinstance(mask["counts"], str) and numbers(mask["size"], 2)))
    )
