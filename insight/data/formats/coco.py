"""Reading and checking COCO JSON files. Needs no Detectron2."""

import os
import pickle
import re
import time
from collections.abc import Callable, Container, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch

from insight.errors import InputError
from insight.structures.boxes import touches_image
from insight.structures.oriented_boxes import have_area
from insight.structures.rle import run_lengths

from .file_check import FileCheck, first, has, numbers, read_json, repeated
from .label_studio import is_label_studio, label_studio_to_coco
from .oriented_annotations import with_oriented_boxes

WITHOUT_AREA = "annotations need a box and a mask with an area"
SHORT_RINGS = "mask polygons need at least three corners"
ROOT_CATEGORY = "a supercategory without annotations has the name of a category"

_SETTLED = 10**8  # nanoseconds after which a file with the same size and time stamp is taken to be unchanged


class _Rule(NamedTuple):
    """A rule for each entry of a section.

    Attributes:
        reason: the rule in words, for errors.
        holds: whether an entry satisfies it; entries that break an earlier rule are not checked.
        name: how errors name an entry that does not.
    """

    reason: str
    holds: Callable[[dict], bool]
    name: Callable[[dict], Any]


def read_coco(
    annotations: Path,
    image_root: Path | None = None,
    classes: Sequence[str] | None = None,
    check: FileCheck | None = None,
    masks: bool = True,
    mixed: bool = False,
) -> dict:
    """Read and check a COCO JSON file, or Label Studio's JSON export.

    A file is parsed and checked once per process while it is unchanged; each call returns new objects.
    Annotations whose box or mask has no area are always left out, noted in `check.problems` under WITHOUT_AREA. An
    empty segmentation counts as a mask without area if any other annotation has a mask, and as no mask otherwise.
    Rings of fewer than three corners are dropped, with the annotation's id noted under SHORT_RINGS. Rotation, in
    whatever form, is converted to "oriented_box", see `with_oriented_boxes`. Sizes of images and RLEs may be written as
    64.0 and are converted to int.

    Args:
        annotations: the JSON file.
        image_root: folder of the images, which must exist; None checks no images.
        classes: names of the categories to keep, compared without case, spaces, hyphens and underscores; annotations
            of others are left out. None: all of them, by increasing id.
        check: how to treat mistakes. A strict check, the default, raises; otherwise bad entries are left out, all but
            the first of entries that share an id, and annotations of images that are left out.
        masks: whether to check and return segmentations.
        mixed: whether annotations without a segmentation may stand beside others that have one.

    Returns:
        The content: "categories" in the order of the classes and under their names in `classes`, "images" by
        increasing id, "annotations".

    Raises:
        InputError: the file is malformed; the message gives the number of bad entries and the first of them.
        OSError: the file is missing or cannot be read.
    """
    annotations = Path(annotations)
    check = check or FileCheck(annotations)
    content, problems = _checked(annotations, masks)
    categories = _of_classes(content["categories"], classes, check)
    for reason, names in problems["images"]:
        check.refuse(names, reason)
    images = content["images"]
    if image_root is not None:
        images = check.keep(
            images, lambda i: os.path.isfile(Path(image_root) / i["file_name"]), "images are missing on disk",
            lambda i: Path(image_root) / i["file_name"],
        )  # fmt: skip
    for reason, names in problems["annotations"]:
        check.refuse(names, reason)
    sizes, kept = {i["id"]: (i["height"], i["width"]) for i in images}, {c["id"] for c in categories}
    objects = [a for a in content["annotations"] if a["image_id"] in sizes and a["category_id"] in kept]
    some_mask = not mixed and any(a.get("segmentation") for a in objects)
    if some_mask:
        objects = check.keep(
            objects, lambda a: a.get("segmentation") is not None, "annotations lack the segmentation that others have",
            _annotation,
        )  # fmt: skip
    objects = check.keep(
        _with_area(objects, some_mask, check), lambda a: _touches(a, sizes[a["image_id"]]),
        "annotations lie outside their image", _annotation,
    )  # fmt: skip
    check.note(ROOT_CATEGORY, problems["roots"])
    return {
        **content,
        "images": sorted(images, key=_id),
        "annotations": objects,
        "categories": categories,
    }


def only_images(content: dict, ids: Container) -> dict:
    """Select images of a COCO file, and their annotations.

    Args:
        content: a COCO dictionary, as `read_coco` returns it.
        ids: ids of the images to keep.

    Returns:
        The COCO dictionary without the other images.
    """
    return {
        **content,
        "images": [i for i in content["images"] if i["id"] in ids],
        "annotations": [a for a in content["annotations"] if a["image_id"] in ids],
    }


def plain_name(name: str) -> str:
    """Return a class name in lower case without spaces, hyphens and underscores, for comparison."""
    return re.sub(r"[\s_-]", "", str(name)).casefold()


def with_whole_size(annotation: dict, size: Sequence[int]) -> dict:
    """Set the size of an annotation's RLE to its image's size as integers; COCO's code does not accept 64.0.

    Args:
        annotation: annotation or detection, with or without an RLE.
        size: (height, width) of its image.

    Returns:
        The annotation, or a copy with another RLE.
    """
    mask = annotation.get("segmentation")
    return {**annotation, "segmentation": {**mask, "size": [*size]}} if isinstance(mask, dict) else annotation


def rle_fills(counts: str | list, size: list[int], **_) -> bool:
    """Return whether the runs of an RLE sum to the pixels of its image; otherwise COCO's code decodes garbage.

    Args:
        counts: runs, compressed or not.
        size: (height, width) of the image.
    """
    try:
        runs = run_lengths(counts).tolist() if isinstance(counts, str) else counts
    except ValueError:
        return False
    return all(isinstance(run, int) and run >= 0 for run in runs) and sum(runs) == size[0] * size[1]


def _checked(path: Path, masks: bool) -> tuple[dict, dict[str, list]]:
    """The entries of a file that fulfil the rules, and by section those that do not: (reason, names)."""
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    state = os.stat(path)
    arguments = (str(path.absolute()), str(path), masks, state.st_size, state.st_mtime_ns)
    settled = time.time_ns() - state.st_mtime_ns > _SETTLED
    return pickle.loads((_pickled if settled else _pickled.__wrapped__)(*arguments))


@lru_cache(maxsize=4)
def _pickled(_, path: str, masks: bool, size: int, changed: int) -> bytes:
    """As `_checked`. Bytes, as they are smaller than objects, which forked processes would gradually copy."""
    content = _sections(Path(path))
    check = FileCheck(Path(path), strict=False)
    problems = {}
    content["categories"], problems["roots"] = _categories(content, check)
    images = check.keep_all(content["images"], _image_rules())
    content["images"] = [{**i, "height": int(i["height"]), "width": int(i["width"])} for i in images]
    problems["images"], check.problems = list(check.problems.items()), {}
    sizes = {i["id"]: (i["height"], i["width"]) for i in content["images"]}
    objects = with_oriented_boxes(content["annotations"])
    if not masks:
        objects = [{k: v for k, v in a.items() if k != "segmentation"} if isinstance(a, dict) else a for a in objects]
    objects = check.keep_all(objects, _annotation_rules(sizes, {c["id"] for c in content["categories"]}))
    unusable = _unusable_oriented_boxes(objects)
    objects = check.keep(objects, lambda a: a["id"] not in unusable, _NEEDS_ORIENTED_BOX, _annotation)
    content["annotations"] = [with_whole_size(a, sizes[a["image_id"]]) for a in objects]
    problems["annotations"] = list(check.problems.items())
    return pickle.dumps((content, problems), pickle.HIGHEST_PROTOCOL)


def _sections(path: Path) -> dict:
    """The file's content, whose sections are lists."""
    content = read_json(path)
    if is_label_studio(content):
        return label_studio_to_coco(content, path)
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected a JSON object with images, annotations and categories, got a list or value")
    for key in ("images", "annotations", "categories"):
        if not isinstance(content.get(key), list):
            raise InputError(f'{path}: not a COCO file: expected a list "{key}" (found keys: {first(content, 8)})')
    return content


def _categories(content: dict, check: FileCheck) -> tuple[list[dict], list[str]]:
    """By increasing id, and the names of supercategories that are left out. Wrong ones cannot be skipped."""
    categories = content["categories"]
    check.fails_if_any((c for c in categories if not has(c, "id", "name")), "categories need id and name")
    if not categories:
        raise InputError(f"{check.path}: no categories")
    nameless = [c["name"] for c in categories if not isinstance(c["name"], str)]
    check.fails_if_any(nameless, "category names must be strings")
    of_one_kind = _of_one_kind()
    check.fails_if_any([c["id"] for c in categories if not of_one_kind(c)], f"category ids {_KINDS}")
    check.fails_if_any(repeated(c["id"] for c in categories), "category ids are not unique")
    roots = _clashing_roots(categories, content["annotations"])
    categories = sorted((c for c in categories if c["id"] not in roots), key=_id)
    check.fails_if_any(repeated(plain_name(c["name"]) for c in categories), "category names are not unique")
    return categories, [f"category {number}" for number in roots]


def _clashing_roots(categories: list[dict], annotations: list) -> list:
    """Ids of supercategories that Roboflow lists as categories though a category of the same name has the objects."""
    named = [plain_name(c["name"]) for c in categories]
    above = {c["supercategory"] for c in categories if isinstance(c.get("supercategory"), str)}
    roots = [c["id"] for c, name in zip(categories, named) if c["name"] in above and named.count(name) > 1
             and c.get("supercategory") != c["name"]]  # fmt: skip
    if not roots:
        return []
    used = {a["category_id"] for a in annotations if isinstance(a, dict) and type(a.get("category_id")) in (int, str)}
    return [number for number in roots if number not in used]


def _of_classes(categories: list[dict], classes: Sequence[str] | None, check: FileCheck) -> list[dict]:
    """The categories of some classes, in their order."""
    if classes is None:
        return categories
    by_name = {plain_name(c["name"]): c for c in categories}
    check.fails_if_any(repeated(map(plain_name, classes)), "classes are given twice")
    known = first((c["name"] for c in categories), 20)
    check.fails_if_any(
        (name for name in classes if plain_name(name) not in by_name), f"unknown classes (the categories are {known})"
    )
    return [{**by_name[plain_name(name)], "name": name} for name in classes]


def _image_rules() -> list[_Rule]:
    def size(image: dict) -> list:
        return [image["height"], image["width"]]

    return [
        _Rule("images need id, file_name, height and width",
              lambda i: has(i, "id", "file_name", "height", "width") and isinstance(i["file_name"], str), _itself),
        _Rule("sem_seg_file_name of images must be a string",
              lambda i: isinstance(i.get("sem_seg_file_name", ""), str), _file_name),
        _Rule(f"image ids {_KINDS}", _of_one_kind(), _image),
        _Rule("image ids are not unique", _new(), _image),
        _Rule("images need a height and a width in pixels", lambda i: numbers(size(i), 2) and min(size(i)) > 0,
              _file_name),
        _Rule("images need a height and a width in whole pixels", lambda i: i["height"] % 1 == i["width"] % 1 == 0,
              lambda i: f"{i['file_name']} ({i['width']} x {i['height']})"),
        _Rule("images need fewer than 2^32 pixels, which is what COCO's RLE counts",
              lambda i: i["height"] * i["width"] < 2**32, _file_name),
    ]  # fmt: skip


def _annotation_rules(sizes: dict, categories: set) -> list[_Rule]:
    def rle(annotation: dict) -> dict | None:
        mask = annotation.get("segmentation")
        return mask if isinstance(mask, dict) else None

    def known(value: Any, values: Container) -> bool:
        return not isinstance(value, (list, dict)) and value in values

    return [
        _Rule("annotations need id, image_id, category_id and bbox",
              lambda a: has(a, "id", "image_id", "category_id", "bbox"), _itself),
        _Rule(f"annotation ids {_KINDS}", _of_one_kind(), _annotation),
        _Rule("annotation ids are not unique", _new(), _annotation),
        _Rule(f"annotations have an unknown category_id (the categories are {first(sorted(categories), 20)})",
              lambda a: known(a["category_id"], categories),
              lambda a: f"{_annotation(a)} with category_id {a['category_id']}"),
        _Rule("annotations have an unknown image_id",
              lambda a: known(a["image_id"], sizes), lambda a: f"{_annotation(a)} with image_id {a['image_id']}"),
        _Rule("annotations need bbox [x, y, width, height] and, if any, segmentation as polygons or RLE",
              _well_formed, _annotation),
        _Rule("annotations need iscrowd, if any, as 0 or 1", lambda a: a.get("iscrowd", 0) in (0, 1), _annotation),
        _Rule("annotations need area, if any, as a number of at least 0",
              lambda a: numbers([a.get("area", 0)], 1) and a.get("area", 0) >= 0, _annotation),
        _Rule("annotations have an RLE of another size than their image",
              lambda a: rle(a) is None or tuple(rle(a)["size"]) == sizes[a["image_id"]], _annotation),
        _Rule("annotations have an RLE whose runs are not integers of at least 0 that sum to the image's pixels",
              lambda a: rle(a) is None or rle_fills(**rle(a)), _annotation),
    ]  # fmt: skip


_KINDS = "must be all integers or all strings"
_NEEDS_ORIENTED_BOX = (
    "annotations need an oriented_box, if any, that has an area: 4 corners, or centre x, centre y, width, height, "
    "angle in degrees"
)


def _itself(entry):
    return entry


def _id(entry: dict):
    return entry["id"]


def _image(entry: dict) -> str:
    return f"image {entry['id']}"


def _annotation(entry: dict) -> str:
    return f"annotation {entry['id']}"


def _file_name(image: dict) -> str:
    return image["file_name"]


def _of_one_kind() -> Callable[[dict], bool]:
    """Whether an entry's id is an integer, or a string: what the first is that is either."""
    kinds: list[type] = []

    def is_of_kind(entry: dict) -> bool:
        kind = type(entry["id"])
        if not kinds and kind in (int, str):
            kinds.append(kind)
        return kind in kinds

    return is_of_kind


def _new() -> Callable[[dict], bool]:
    """Whether an entry is the first with its id."""
    seen = set()

    def is_new(entry: dict) -> bool:
        count = len(seen)
        seen.add(entry["id"])
        return len(seen) > count

    return is_new


def _well_formed(annotation: dict) -> bool:
    mask = annotation.get("segmentation")
    if not numbers(annotation["bbox"], 4) or len(annotation["bbox"]) != 4:
        return False
    if isinstance(mask, dict):
        return has(mask, "counts", "size") and numbers(mask["size"], 2) and isinstance(mask["counts"], (str, list))
    return mask is None or (isinstance(mask, list) and all(numbers(p, 0) and len(p) % 2 == 0 for p in mask))


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


def _with_area(annotations: list[dict], some_mask: bool, check: FileCheck) -> list[dict]:
    kept, empty, shortened = [], [], []
    for annotation in annotations:
        if not _has_area(annotation, some_mask):
            empty.append(annotation)
            continue
        kept.append(_without_short_rings(annotation))
        if kept[-1] is not annotation:
            shortened.append(annotation)
    check.note(WITHOUT_AREA, map(_annotation, empty))
    check.note(SHORT_RINGS, (f"polygons of {_annotation(a)}" for a in shortened))
    return kept


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
