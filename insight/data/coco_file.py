"""COCO JSON files, checked so that a mistake in a file is one line and not a crash later on. Needs no Detectron2."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from pycocotools import mask as coco_mask

from .file_check import FileCheck, first, has, numbers, read_json, repeated

WITHOUT_AREA = "annotations need a box and a mask with an area"


def read_coco(
    annotations: Path,
    image_root: Path | None = None,
    classes: Sequence[str] | None = None,
    check: FileCheck | None = None,
) -> dict:
    """Read and check a COCO JSON file.

    Annotations whose box or mask has no area are always left out, noted in `check.problems` under WITHOUT_AREA. An
    empty segmentation counts as a mask without area if any other is there, and as no mask else.

    Args:
        annotations: the JSON file.
        image_root: folder of the images, which must be there; None does not look.
        classes: names of the categories that count, compared without case, spaces, hyphens and underscores; annotations
            of others are left out. None: all of them, by increasing id.
        check: what to do with mistakes. If it is strict, as it is by default: raise. Otherwise leave out entries that
            are wrong, of those with one id all but the first, and annotations of images that are left out.

    Returns:
        The content: "categories" in the order of the classes and under their names in `classes`, "images" by
        increasing id, "annotations".

    Raises:
        ValueError: what is wrong with the file, in one line, with the number of offenders and the first of them.
        OSError: the file is missing or cannot be read.
    """
    annotations = Path(annotations)
    check = check or FileCheck(annotations)
    content = _sections(annotations)
    categories = _categories(content["categories"], classes, check)
    listed = _images(content["images"], check)
    images = listed
    if image_root is not None:
        images = check.keep(
            listed, lambda i: (Path(image_root) / i["file_name"]).is_file(), "images are missing on disk",
            lambda i: Path(image_root) / i["file_name"],
        )  # fmt: skip
    known = {c["id"] for c in content["categories"]}
    annos = _annotations(content["annotations"], listed, known, check)
    sizes, counting = {i["id"]: (i["height"], i["width"]) for i in images}, {c["id"] for c in categories}
    annos = [a for a in annos if a["image_id"] in sizes and a["category_id"] in counting]
    annos = check.keep(
        _with_area(annos, check), lambda a: _touches(a, sizes[a["image_id"]]), "annotations lie outside their image",
        lambda a: a["id"],
    )  # fmt: skip
    return {
        **content,
        "images": sorted(images, key=lambda i: i["id"]),
        "annotations": annos,
        "categories": categories,
    }


def _sections(path: Path) -> dict:
    """The file's content, whose sections are lists."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object with images, annotations and categories, got a list or value")
    for key in ("images", "annotations", "categories"):
        if not isinstance(content.get(key), list):
            raise ValueError(f'{path}: not a COCO file: expected a list "{key}" (found keys: {first(content, 8)})')
    return content


def _categories(categories: list, classes: Sequence[str] | None, check: FileCheck) -> list[dict]:
    """Those of the classes, in their order. What is wrong with categories cannot be skipped: all hangs on them."""
    check.fails_if_any((c for c in categories if not has(c, "id", "name")), "categories need id and name")
    if not categories:
        raise ValueError(f"{check.path}: there is no category")
    check.fails_if_any(repeated(c["id"] for c in categories), "category ids are not unique")
    categories = sorted(categories, key=lambda c: c["id"])
    if classes is None:
        return categories
    by_name = {_plain(c["name"]): c for c in categories}
    check.fails_if_any(repeated(_plain(c["name"]) for c in categories), "category names are not unique")
    known = first((c["name"] for c in categories), 20)
    check.fails_if_any(
        (name for name in classes if _plain(name) not in by_name), f"classes are in no category (they are {known})"
    )
    return [{**by_name[_plain(name)], "name": name} for name in classes]


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]", "", str(name)).casefold()


def _images(images: list, check: FileCheck) -> list[dict]:
    images = check.keep(
        images, lambda i: has(i, "id", "file_name", "height", "width"), "images need id, file_name, height and width",
        _itself,
    )  # fmt: skip
    images = check.keep(images, _new("id"), "image ids are not unique", lambda i: i["id"])
    return check.keep(
        images,
        lambda i: numbers([i["height"], i["width"]], 2) and min(i["height"], i["width"]) > 0,
        "images need a height and a width in pixels",
        lambda i: i["file_name"],
    )


def _annotations(annotations: list, images: list[dict], categories: set, check: FileCheck) -> list[dict]:
    def identity(annotation: dict):
        return annotation["id"]

    sizes = {i["id"]: (i["height"], i["width"]) for i in images}
    annotations = check.keep(
        annotations, lambda a: has(a, "id", "image_id", "category_id", "bbox"),
        "annotations need id, image_id, category_id and bbox", _itself,
    )  # fmt: skip
    annotations = check.keep(annotations, _new("id"), "annotation ids are not unique", identity)
    annotations = check.keep(
        annotations, lambda a: a["category_id"] in categories,
        f"annotations have a category_id that is in no category (they are {first(sorted(categories), 20)})",
        lambda a: a["category_id"],
    )  # fmt: skip
    annotations = check.keep(
        annotations, lambda a: a["image_id"] in sizes, "annotations have an image_id that is in no image",
        lambda a: a["image_id"],
    )  # fmt: skip
    annotations = check.keep(
        annotations, _well_formed,
        "annotations need bbox [x, y, width, height] and, if any, segmentation as polygons or RLE", identity,
    )  # fmt: skip
    return check.keep(
        annotations, lambda a: not isinstance(a.get("segmentation"), dict)
        or tuple(a["segmentation"]["size"]) == sizes[a["image_id"]],
        "annotations have an RLE of another size than their image", identity,
    )  # fmt: skip


def _with_area(annotations: list[dict], check: FileCheck) -> list[dict]:
    some_mask = any(a.get("segmentation") for a in annotations)
    kept, empty = [], []
    for annotation in annotations:
        (kept if _has_area(annotation, some_mask) else empty).append(annotation)
    if empty:
        check.problems[WITHOUT_AREA] = [a["id"] for a in empty]
    return kept


def _itself(entry):
    return entry


def _new(key: str) -> Callable[[dict], bool]:
    """Whether an entry is the first with its value."""
    seen = set()

    def is_new(entry: dict) -> bool:
        count = len(seen)
        seen.add(entry[key])
        return len(seen) > count

    return is_new


def _well_formed(annotation: dict) -> bool:
    mask = annotation.get("segmentation")
    if not numbers(annotation["bbox"], 4) or len(annotation["bbox"]) != 4:
        return False
    if isinstance(mask, dict):
        return has(mask, "counts", "size") and numbers(mask["size"], 2)
    return mask is None or (isinstance(mask, list) and all(numbers(p, 0) and len(p) % 2 == 0 for p in mask))


def _touches(annotation: dict, size: tuple[int, int]) -> bool:
    """Whether the box, and the polygons if there are any, are at least in part inside the image; they have an area."""
    height, width = size
    x, y, w, h = annotation["bbox"]
    bounds = [(x, y, x + w, y + h)]
    polygons = annotation.get("segmentation")
    if isinstance(polygons, list) and polygons:
        xs, ys = ([v for p in polygons for v in p[start::2]] for start in (0, 1))
        bounds.append((min(xs), min(ys), max(xs), max(ys)))
    return all(x1 > 0 and y1 > 0 and x0 < width and y0 < height for x0, y0, x1, y1 in bounds)


def _has_area(annotation: dict, some_mask: bool) -> bool:
    if min(annotation["bbox"][2:]) <= 0:
        return False
    mask = annotation.get("segmentation")
    if isinstance(mask, dict):
        counts = mask["counts"]
        return sum(counts[1::2]) > 0 if isinstance(counts, list) else coco_mask.area(mask) > 0
    if mask is None or (mask == [] and not some_mask):
        return True
    return any(len(p) >= 6 and min(p[::2]) < max(p[::2]) and min(p[1::2]) < max(p[1::2]) for p in mask)
