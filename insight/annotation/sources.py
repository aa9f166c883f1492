"""Sources of boxes for annotation: folders of DOTA, SODA-A and YOLO-OBB, COCO files, and vector layers."""

import json
import logging
import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from insight.data.formats.coco import WITHOUT_AREA, read_coco
from insight.data.formats.file_check import SKIP_HINT, FileCheck, first, repeated
from insight.data.formats.oriented import find_oriented, read_oriented
from insight.errors import InputError
from insight.runtime.words import counted
from insight.structures.oriented_boxes import oriented_corners

from .format_names import LAYER_SUFFIXES, check_box_source

_GIVEN = ("bbox", "oriented_box")  # keys of an annotation that describe its box

_logger = logging.getLogger(__name__)


class SourceImage(NamedTuple):
    """An image and the number of its boxes.

    Attributes:
        id: id of the image in COCO files.
        name: path relative to the folder of the images.
        path: the file.
        count: number of boxes of the selected classes.
        size: (height, width) stated by the source, or None.
    """

    id: int | str
    name: str
    path: Path
    count: int
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class ImageBoxes:
    """The N boxes of one image.

    Args:
        ids: N integers or strings, unique in the source.
        corners: (N, 4, 2) float32 XY, image pixels; finite, but a box may leave the image or have no area.
        oriented: (N,) bool; the others are horizontal.
        class_names: N names.
        given: function from i to the source's description of box i, as fields of a COCO annotation.
    """

    ids: Sequence[int | str]
    corners: np.ndarray
    oriented: np.ndarray
    class_names: list[str]
    given: Callable[[int], dict[str, Any]]

    def __len__(self) -> int:
        return len(self.class_names)


@dataclass(frozen=True)
class Source:
    """Images with boxes.

    Args:
        images: in the order of the results.
        categories: COCO categories of the classes.
        read: function from an image to its boxes; raises OSError or InputError where they cannot be read.
        failures: reasons by what is left out: an image's name, or a part of the file.
    """

    images: list[SourceImage]
    categories: list[dict[str, Any]]
    read: Callable[[SourceImage], ImageBoxes]
    failures: dict[str, str]


def open_source(
    path: str | os.PathLike,
    image_root: str | os.PathLike | None = None,
    classes: Sequence[str] | None = None,
    *,
    strict: bool = False,
) -> Source:
    """Open a dataset of boxes.

    The boxes of a folder are numbered from 1 in the order of its files and their lines, its classes in the order of
    `classes` or of the alphabet; a COCO file keeps its ids.

    Args:
        path: a folder with images/ and labelTxt/ (DOTA), Images/ and Annotations/ (SODA-A) or images/ and labels/
            (YOLO-OBB); a COCO JSON file (also CVAT's and Roboflow's, or Label Studio's JSON; see `read_coco`), whose
            annotations may have an "oriented_box" in any form that `oriented_corners` takes; or a vector layer of
            polygons, see `insight.geo.datasets.read_vector_boxes`.
        image_root: for a COCO file, the folder that its file names are relative to; for a vector layer, the
            georeferenced image or the folder of them.
        classes: names of the classes to use; None: all.
        strict: raise for bad entries and missing images; otherwise leave them out and record them as failures.

    Returns:
        The source; images are not read.

    Raises:
        OSError: the folder or file is missing or cannot be read.
        InputError: the layout is unknown, the file is malformed, a class is missing, or a strict check fails.
    """
    path, classes = Path(path), None if classes is None else list(dict.fromkeys(classes))
    check_box_source(path, image_root)
    if image_root is None:
        return _open_folder(path, classes, FileCheck(path, strict, SKIP_HINT))
    if path.suffix.lower() in LAYER_SUFFIXES:
        return _open_vector(path, Path(image_root), classes, strict)
    return _open_coco(Path(image_root), classes, FileCheck(path, strict, SKIP_HINT))


def require_images(source: Source, path: str | os.PathLike) -> None:
    """Check, before a model is loaded, that at least one image of a source exists.

    Args:
        source: the source.
        path: what it was opened from, for the error.

    Raises:
        InputError: all images are missing.
    """
    if source.images and not any(image.path.is_file() for image in source.images):
        missing = first(str(image.path) for image in source.images)
        raise InputError(f"image_root: expected the images of {path}, but none of them is there: {missing}")


def _open_folder(folder: Path, classes: Sequence[str] | None, check: FileCheck) -> Source:
    images, labels, first_ids = [], {}, {}
    unread = FileCheck(folder, check.strict, SKIP_HINT)  # by image
    names: Counter[str] = Counter()
    total = 0
    for number, (path, label_file) in enumerate(find_oriented(folder, check=check), 1):
        name = Path(*path.relative_to(folder).parts[1:]).as_posix()
        boxes = unread.attempt(lambda file=label_file, image=path: read_oriented(file, image), name)
        if boxes is None:
            continue
        found = Counter(boxes.class_names)
        names += found
        count = sum(found[c] for c in (found if classes is None else classes))
        images.append(SourceImage(number, name, path, count))
        labels[name], first_ids[name] = label_file, total + 1
        total += count
    failures = {name: first(reasons) for name, reasons in unread.problems.items()}
    unknown = [name for name in classes or [] if name not in names]
    if unknown:
        raise InputError(f"{folder}: no box is of class {first(unknown)}; the classes are {first(sorted(names), 20)}")
    chosen = sorted(names) if classes is None else classes

    def read(image: SourceImage) -> ImageBoxes:
        found = read_oriented(labels[image.name], image.path)
        index = [i for i, name in enumerate(found.class_names) if name in chosen]
        if len(index) != image.count:
            raise InputError(
                f"{labels[image.name]}: has {counted(len(index), 'box')} now, {image.count} when the run started"
            )
        corners = found.corners[index]
        return ImageBoxes(
            list(range(first_ids[image.name], first_ids[image.name] + len(index))),
            corners,
            np.ones(len(index), bool),
            [found.class_names[i] for i in index],
            lambda i: {"oriented_box": corners[i].astype(float).round(2).ravel().tolist()},  # float32 has no more
        )

    return Source(
        images, [{"id": i, "name": name} for i, name in enumerate(chosen, 1)], read, _failures(check) | failures
    )


def _open_vector(path: Path, images: Path, classes: Sequence[str] | None, strict: bool) -> Source:
    from insight.geo.datasets import read_vector_boxes

    content = read_vector_boxes(path, images)
    root = images.parent if images.is_file() else images
    with tempfile.TemporaryDirectory() as folder:  # so that its rules are those of a COCO file
        boxes = Path(folder) / path.with_suffix(".json").name
        boxes.write_text(json.dumps({key: content[key] for key in ("images", "annotations", "categories")}))
        return _open_coco(root, classes, FileCheck(boxes, strict, SKIP_HINT))


def _open_coco(image_root: Path, classes: Sequence[str] | None, check: FileCheck) -> Source:
    path = check.path
    # Otherwise an image that is missing is a failure of its own when its turn comes.
    content = read_coco(path, image_root if check.strict else None, classes, check, masks=False)
    if check.strict:  # datasets leave these out in any case; here each box is to get its mask
        check.refuse(check.problems.get(WITHOUT_AREA, []), WITHOUT_AREA)
    annotations = [a for a in content["annotations"] if not a.get("iscrowd", 0)]
    if len(annotations) < len(content["annotations"]):
        crowds = len(content["annotations"]) - len(annotations)
        _logger.warning(f"{path}: left out {counted(crowds, 'annotation')} with iscrowd, not of single objects")
    names = {c["id"]: c["name"] for c in content["categories"]}
    check.fails_if_any(repeated(i["file_name"] for i in content["images"]), "file names are not unique")
    by_image = defaultdict(list)
    for annotation in annotations:
        by_image[annotation["image_id"]].append(annotation)
    images = [
        SourceImage(i["id"], i["file_name"], image_root / i["file_name"], len(by_image[i["id"]]),
                    (i["height"], i["width"]))
        for i in content["images"]
    ]  # fmt: skip

    def read(image: SourceImage) -> ImageBoxes:
        found = by_image[image.id]
        return ImageBoxes(
            [a["id"] for a in found],
            np.array([_corners(a) for a in found], np.float32).reshape(-1, 4, 2),
            np.array(["oriented_box" in a for a in found], bool),
            [names[a["category_id"]] for a in found],
            lambda i: {key: found[i][key] for key in _GIVEN if key in found[i]},
        )

    return Source(images, content["categories"], read, _failures(check))


def _failures(check: FileCheck) -> dict[str, str]:
    return {
        f"{check.path.name}, {reason}": f"left out {len(who)}: {first(who)}" for reason, who in check.problems.items()
    }


def _corners(annotation: dict) -> np.ndarray:
    """(4, 2)."""
    if "oriented_box" in annotation:
        return oriented_corners([annotation["oriented_box"]])[0].numpy()
    x, y, width, height = annotation["bbox"]
    return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])
