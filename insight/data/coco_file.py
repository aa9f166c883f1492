"""COCO JSON files as they are, checked; needs no Detectron2."""

import math
from pathlib import Path

from .file_check import FileCheck, first, has, read_json, repeated


def read_coco(annotations: Path) -> dict:
    """Read and check a COCO JSON file by itself; whether its images exist is not looked at.

    Args:
        annotations: the JSON file.

    Returns:
        Its content.

    Raises:
        ValueError: what is wrong with the file, in one line, with the number of offenders and the first of them.
        OSError: the file is missing or cannot be read.
    """
    annotations = Path(annotations)
    content, check = _sections(annotations), FileCheck(annotations)
    images, annos, categories = (content[key] for key in ("images", "annotations", "categories"))
    check.fails_if_any(
        (i for i in images if not has(i, "id", "file_name", "height", "width")),
        "images need id, file_name, height and width",
    )
    check.fails_if_any((c for c in categories if not has(c, "id", "name")), "categories need id and name")
    check.fails_if_any(
        (a for a in annos if not has(a, "id", "image_id", "category_id", "bbox")),
        "annotations need id, image_id, category_id and bbox",
    )
    if not categories:
        raise ValueError(f"{annotations}: there is no category")
    for what, entries in (("image", images), ("category", categories), ("annotation", annos)):
        check.fails_if_any(repeated(e["id"] for e in entries), f"{what} ids are not unique")

    sizes = {i["id"]: (i["height"], i["width"]) for i in images}
    known = {c["id"] for c in categories}
    check.fails_if_any(
        (a["category_id"] for a in annos if a["category_id"] not in known),
        f"annotations have a category_id that is in no category (they are {first(sorted(known), 20)})",
    )
    check.fails_if_any(
        (a["image_id"] for a in annos if a["image_id"] not in sizes), "annotations have an image_id that is in no image"
    )
    check.fails_if_any(
        (a["id"] for a in annos if not _well_formed(a)),
        "annotations need bbox [x, y, width, height] and, if any, segmentation as polygons or RLE",
    )
    check.fails_if_any(
        (a["id"] for a in annos if _rle_size(a) not in (None, sizes[a["image_id"]])),
        "annotations have an RLE of another size than their image",
    )
    return content


def _sections(path: Path) -> dict:
    """The file's content, whose sections are lists."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object with images, annotations and categories, got a list or value")
    for key in ("images", "annotations", "categories"):
        if not isinstance(content.get(key), list):
            raise ValueError(f'{path}: not a COCO file: expected a list "{key}" (found keys: {first(content, 8)})')
    return content


def _numbers(values, least: int) -> bool:
    return (
        isinstance(values, list)
        and len(values) >= least
        and all(isinstance(v, (int, float)) and math.isfinite(v) for v in values)
    )


def _well_formed(annotation: dict) -> bool:
    mask = annotation.get("segmentation")
    if not _numbers(annotation["bbox"], 4) or len(annotation["bbox"]) != 4:
        return False
    if isinstance(mask, dict):
        return has(mask, "counts", "size") and _numbers(mask["size"], 2)
    return mask is None or (isinstance(mask, list) and all(_numbers(p, 0) and len(p) % 2 == 0 for p in mask))


def _rle_size(annotation: dict) -> tuple[int, int] | None:
    mask = annotation.get("segmentation")
    return tuple(mask["size"]) if isinstance(mask, dict) else None
