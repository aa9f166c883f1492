"""COCO JSON files, checked so that a mistake in a file is one line and not a crash later on. Needs no Detectron2."""

import os
import re
from collections.abc import Callable, Container, Sequence
from pathlib import Path

import torch

from insight.structures.boxes import touches_image
from insight.structures.oriented_boxes import have_area
from insight.structures.rle import run_lengths

from .file_check import FileCheck, first, has, numbers, read_json, repeated

WITHOUT_AREA = "annotations need a box and a mask with an area"
SHORT_RINGS = "rings of masks need three corners"
_KINDS = "need be whole numbers, or all of them text"


def read_coco(
    annotations: Path,
    image_root: Path | None = None,
    classes: Sequence[str] | None = None,
    check: FileCheck | None = None,
    masks: bool = True,
) -> dict:
    """Read and check a COCO JSON file.

    Annotations whose box or mask has no area are always left out, noted in `check.problems` under WITHOUT_AREA. An
    empty segmentation counts as a mask without area if any other is there, and as no mask else. Rings of less than
    three corners are no part of a mask and are dropped, with the annotation's id noted under SHORT_RINGS.
    Sizes of images and RLEs may be written as 64.0, and become int.

    Args:
        annotations: the JSON file.
        image_root: folder of the images, which must be there; None does not look.
        classes: names of the categories that count, compared without case, spaces, hyphens and underscores; annotations
            of others are left out. None: all of them, by increasing id.
        check: what to do with mistakes. If it is strict, as it is by default: raise. Otherwise leave out entries that
            are wrong, of those with one id all but the first, and annotations of images that are left out.
        masks: whether segmentations count; otherwise they are not looked at and left out.

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
            listed, lambda i: os.path.isfile(Path(image_root) / i["file_name"]), "images are missing on disk",
            lambda i: Path(image_root) / i["file_name"],
        )  # fmt: skip
    known = {c["id"] for c in content["categories"]}
    annos = content["annotations"]
    if not masks:
        annos = [{k: v for k, v in a.items() if k != "segmentation"} if isinstance(a, dict) else a for a in annos]
    annos = _annotations(annos, listed, known, check)
    sizes, counting = {i["id"]: (i["height"], i["width"]) for i in images}, {c["id"] for c in categories}
    annos = [a for a in annos if a["image_id"] in sizes and a["category_id"] in counting]
    if any(a.get("segmentation") for a in annos):
        annos = check.keep(
            annos, lambda a: a.get("segmentation") is not None, "annotations lack the segmentation that others have",
            lambda a: a["id"],
        )  # fmt: skip
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


def only_images(content: dict, ids: Container) -> dict:
    """The content of a COCO file with some of its images and their annotations alone.

    Args:
        content: as `read_coco` gives it.
        ids: of the images.

    Returns:
        The same otherwise.
    """
    return {
        **content,
        "images": [i for i in content["images"] if i["id"] in ids],
        "annotations": [a for a in content["annotations"] if a["image_id"] in ids],
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
    check.fails_if_any(
        (c["name"] for c in categories if not isinstance(c["name"], str)), "category names need be text, in quotes"
    )
    of_one_kind = _of_one_kind(categories)
    check.fails_if_any((c["id"] for c in categories if not of_one_kind(c)), f"category ids {_KINDS}")
    check.fails_if_any(repeated(c["id"] for c in categories), "category ids are not unique")
    categories = sorted(categories, key=lambda c: c["id"])
    by_name = {plain_name(c["name"]): c for c in categories}
    check.fails_if_any(repeated(plain_name(c["name"]) for c in categories), "category names are not unique")
    if classes is None:
        return categories
    check.fails_if_any(repeated(map(plain_name, classes)), "classes are asked for twice")
    known = first((c["name"] for c in categories), 20)
    check.fails_if_any(
        (name for name in classes if plain_name(name) not in by_name), f"classes are in no category (they are {known})"
    )
    return [{**by_name[plain_name(name)], "name": name} for name in classes]


def plain_name(name: str) -> str:
    """A class name without case, spaces, hyphens and underscores, by which names are compared."""
    return re.sub(r"[\s_-]", "", str(name)).casefold()


def _images(images: list, check: FileCheck) -> list[dict]:
    images = check.keep(
        images, lambda i: has(i, "id", "file_name", "height", "width") and isinstance(i["file_name"], str),
        "images need id, file_name, height and width", _itself,
    )  # fmt: skip
    images = check.keep(
        images, lambda i: isinstance(i.get("sem_seg_file_name", ""), str),
        "images need sem_seg_file_name, if any, as text", lambda i: i["file_name"],
    )  # fmt: skip
    images = check.keep(images, _of_one_kind(images), f"image ids {_KINDS}", lambda i: i["id"])
    images = check.keep(images, _new("id"), "image ids are not unique", lambda i: i["id"])
    images = check.keep(
        images,
        lambda i: numbers([i["height"], i["width"]], 2) and min(i["height"], i["width"]) > 0,
        "images need a height and a width in pixels",
        lambda i: i["file_name"],
    )
    images = check.keep(
        images, lambda i: i["height"] % 1 == i["width"] % 1 == 0, "images need a height and a width in whole pixels",
        lambda i: f"{i['file_name']} ({i['width']} x {i['height']})",
    )  # fmt: skip
    return [{**i, "height": int(i["height"]), "width": int(i["width"])} for i in images]


def _annotations(annotations: list, images: list[dict], categories: set, check: FileCheck) -> list[dict]:
    def identity(annotation: dict):
        return annotation["id"]

    sizes = {i["id"]: (i["height"], i["width"]) for i in images}
    annotations = check.keep(
        annotations, lambda a: has(a, "id", "image_id", "category_id", "bbox"),
        "annotations need id, image_id, category_id and bbox", _itself,
    )  # fmt: skip
    annotations = check.keep(annotations, _of_one_kind(annotations), f"annotation ids {_KINDS}", identity)
    annotations = check.keep(annotations, _new("id"), "annotation ids are not unique", identity)
    annotations = check.keep(
        annotations, lambda a: not isinstance(a["category_id"], (list, dict)) and a["category_id"] in categories,
        f"annotations have a category_id that is in no category (they are {first(sorted(categories), 20)})",
        lambda a: a["category_id"],
    )  # fmt: skip
    annotations = check.keep(
        annotations, lambda a: not isinstance(a["image_id"], (list, dict)) and a["image_id"] in sizes,
        "annotations have an image_id that is in no image", lambda a: a["image_id"],
    )  # fmt: skip
    annotations = check.keep(
        annotations, _well_formed,
        "annotations need bbox [x, y, width, height] and, if any, segmentation as polygons or RLE", identity,
    )  # fmt: skip
    annotations = check.keep(
        annotations, lambda a: a.get("iscrowd", 0) in (0, 1), "annotations need iscrowd, if any, as 0 or 1", identity
    )
    annotations = check.keep(
        annotations, lambda a: numbers([a.get("area", 0)], 1) and a.get("area", 0) >= 0,
        "annotations need area, if any, as a number of at least 0", identity,
    )  # fmt: skip
    annotations = check.keep(
        annotations, lambda a: not isinstance(a.get("segmentation"), dict)
        or tuple(a["segmentation"]["size"]) == sizes[a["image_id"]],
        "annotations have an RLE of another size than their image", identity,
    )  # fmt: skip
    annotations = [with_whole_size(a, sizes[a["image_id"]]) for a in annotations]
    annotations = check.keep(
        annotations, lambda a: not isinstance(a.get("segmentation"), dict) or rle_fills(**a["segmentation"]),
        "annotations have an RLE whose runs are not whole numbers of at least 0 that fill the image", identity,
    )  # fmt: skip
    unusable = _unusable_oriented_boxes(annotations)
    return check.keep(
        annotations, lambda a: a["id"] not in unusable,
        "annotations need an oriented_box, if any, that has an area: 4 corners, or centre x, centre y, width, height, "
        "angle in degrees", identity,
    )  # fmt: skip


def _with_area(annotations: list[dict], check: FileCheck) -> list[dict]:
    some_mask = any(a.get("segmentation") for a in annotations)
    kept, empty, shortened = [], [], []
    for annotation in annotations:
        if not _has_area(annotation, some_mask):
            empty.append(annotation)
            continue
        kept.append(_without_short_rings(annotation))
        if kept[-1] is not annotation:
            shortened.append(annotation)
    check.note(WITHOUT_AREA, (a["id"] for a in empty))
    check.note(SHORT_RINGS, (a["id"] for a in shortened))
    return kept


def _itself(entry):
    return entry


def _of_one_kind(entries: list[dict]) -> Callable[[dict], bool]:
    """Whether an entry's id is a whole number, or text: what the first is that is either."""
    kind = next((type(e["id"]) for e in entries if type(e["id"]) in (int, str)), int)
    return lambda entry: type(entry["id"]) is kind


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
        return has(mask, "counts", "size") and numbers(mask["size"], 2) and isinstance(mask["counts"], (str, list))
    return mask is None or (isinstance(mask, list) and all(numbers(p, 0) and len(p) % 2 == 0 for p in mask))


def with_whole_size(annotation: dict, size: Sequence[int]) -> dict:
    """An annotation, or a detection, whose RLE has its image's size in int: COCO's code takes no 64.0.

    Args:
        annotation: with an RLE or without.
        size: (height, width) of its image.

    Returns:
        The same, or a copy with another RLE.
    """
    mask = annotation.get("segmentation")
    return {**annotation, "segmentation": {**mask, "size": [*size]}} if isinstance(mask, dict) else annotation


def _unusable_oriented_boxes(annotations: list[dict]) -> set:
    """The ids of annotations whose oriented box `oriented_corners` would refuse, as soon as the object is drawn."""
    by_form: dict[int, dict] = {5: {}, 8: {}}
    unusable = set()
    for annotation in annotations:
        if "oriented_box" not in annotation:
            continue
        box = annotation["oriented_box"]
        if isinstance(box, list) and len(box) == 4 and all(numbers(corner, 2) and len(corner) == 2 for corner in box):
            box = [value for corner in box for value in corner]
        if numbers(box, 5) and len(box) in by_form:
            by_form[len(box)][annotation["id"]] = box
        else:
            unusable.add(annotation["id"])
    for length, boxes in by_form.items():
        values = torch.tensor(list(boxes.values()), dtype=torch.float32).reshape(-1, length)
        good = values.isfinite().all(1) & have_area(values)
        unusable.update(number for number, is_good in zip(boxes, good.tolist()) if not is_good)
    return unusable


def rle_fills(counts: str | list, size: list[int], **_) -> bool:
    """Whether the runs of an RLE sum to the pixels of its image; COCO's code decodes others to anything.

    Args:
        counts: its runs, compressed or not.
        size: (height, width) of the image.
    """
    try:
        runs = run_lengths(counts).tolist() if isinstance(counts, str) else counts
    except ValueError:
        return False
    return all(isinstance(run, int) and run >= 0 for run in runs) and sum(runs) == size[0] * size[1]


def _touches(annotation: dict, size: tuple[int, int]) -> bool:
    """Whether the box, and the polygons if there are any, are at least in part inside the image; they have an area."""
    x, y, w, h = annotation["bbox"]
    bounds = [(x, y, x + w, y + h)]
    polygons = annotation.get("segmentation")
    if isinstance(polygons, list) and polygons:
        xs, ys = ([v for p in polygons for v in p[start::2]] for start in (0, 1))
        bounds.append((min(xs), min(ys), max(xs), max(ys)))
    return all(touches_image(box, size) for box in bounds)


def _has_area(annotation: dict, some_mask: bool) -> bool:
    if min(annotation["bbox"][2:]) <= 0:
        return False
    mask = annotation.get("segmentation")
    if isinstance(mask, dict):
        counts = mask["counts"]
        return sum((run_lengths(counts) if isinstance(counts, str) else counts)[1::2]) > 0
    if not mask:
        return not some_mask
    return any(len(p) >= 6 and min(p[::2]) < max(p[::2]) and min(p[1::2]) < max(p[1::2]) for p in mask)


def _without_short_rings(annotation: dict) -> dict:
    """The annotation without the rings that COCO's code stumbles over."""
    mask = annotation.get("segmentation")
    if not isinstance(mask, list) or all(len(ring) >= 6 for ring in mask):
        return annotation
    return {**annotation, "segmentation": [ring for ring in mask if len(ring) >= 6]}
