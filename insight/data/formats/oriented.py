"""Reading oriented boxes from DOTA's text files, SODA-A's JSON files and YOLO-OBB's text files."""

import logging
import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from insight.errors import InputError
from insight.runtime.folders import files_under
from insight.runtime.words import counted
from insight.structures.boxes import touches_image

from .file_check import FileCheck, first, read_json, read_text
from .images import SUFFIXES, image_size
from .yolo_text import YOLO_LABELS, class_name, class_names_of, is_index, read_yolo_lines

WITHOUT_AREA = "boxes without area"

_DOTA_LABELS = "labelTxt"
_LAYOUTS = (("images", _DOTA_LABELS, ".txt"), ("Images", "Annotations", ".json"), ("images", YOLO_LABELS, ".txt"))
_IGNORED = "ignore"  # SODA-A's class of regions that hold no single object

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OrientedLabels:
    """The oriented boxes of one image, in the order of its file.

    Args:
        corners: (N, 4, 2) float32 XY, image pixels, in the order of the file; a box may extend beyond the image or have
            no area. `insight.structures.oriented_boxes.oriented_corners` sorts them, and rejects boxes without area.
        class_names: N names, as the file spells them.
        difficult: (N,) bool, True for boxes marked as hard to recognise or cut by the edge of a crop.
    """

    corners: np.ndarray
    class_names: list[str]
    difficult: np.ndarray

    def __len__(self) -> int:
        return len(self.class_names)


def has_oriented(folder: str | os.PathLike) -> bool:
    """Return whether a folder has one of the layouts of `find_oriented`."""
    return any(all((Path(folder) / name).is_dir() for name in names[:2]) for names in _LAYOUTS)


def find_oriented(
    folder: str | os.PathLike, split: str = "", check: FileCheck | None = None
) -> list[tuple[Path, Path]]:
    """Pair the images of a folder with their label files, by file name.

    Three layouts are supported: DOTA's images/ and labelTxt/*.txt, SODA-A's Images/ and Annotations/*.json, and
    YOLO-OBB's images/ and labels/*.txt, each with or without sub-folders (train/, val/, test/).

    Args:
        folder: folder that holds the two.
        split: use only the label files in this sub-folder; their images may be in any sub-folder.
        check: how to treat label files without an image, images without a label file, and images that share a name: a
            strict check raises, otherwise they are left out (all but the first of a name). None: strict, but only warn
            about images without a label file.

    Returns:
        Pairs (image, label file), sorted by the label file's path. Images in a sub-folder test/ need no label file if
        no label file is in a test/ either. Hidden files are ignored.

    Raises:
        OSError: no such folder.
        InputError: the folder has neither layout or no usable file, or a strict check fails.
    """
    folder, warns = Path(folder), check is None
    check = check or FileCheck(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no such folder: {folder}")
    found = [names for names in _LAYOUTS if all((folder / name).is_dir() for name in names[:2])]
    if not found:
        raise InputError(
            f"{folder}: expected images/ and labelTxt/ (DOTA), Images/ and Annotations/ (SODA-A), or images/ and "
            "labels/ (YOLO-OBB); `insight convert` makes a COCO file of other formats"
        )
    image_folder, label_folder, suffix = found[0]
    all_labels = files_under(folder / label_folder, (suffix,))
    labels = [path for path in all_labels if path.is_relative_to(folder / label_folder / split)]
    images = files_under(folder / image_folder, SUFFIXES)
    if not labels:
        raise InputError(f"{folder / label_folder / split}: no {suffix} files")
    by_stem: dict[str, Path] = {}
    for image in images:
        by_stem.setdefault(image.stem, image)

    def within(path: Path) -> Path:
        return path.relative_to(folder)

    check.keep(images, lambda image: by_stem[image.stem] == image, "image names must be unique", within)
    bare = _bare(by_stem.values(), all_labels, folder)
    labels = check.keep(
        labels, lambda label: label.stem in by_stem, f"label files need an image in {image_folder}/", within
    )
    if not labels:
        raise InputError(f"{folder}: no label file has an image in {image_folder}/")
    if not warns:
        check.keep(bare, lambda image: False, f"images need a label file in {label_folder}/", within)
    elif bare:
        _logger.warning(
            f"{folder}: left out {counted(len(bare), 'image')} without a label file: {first(map(within, bare))}"
        )
    return [(by_stem[label.stem], label) for label in labels]


def _bare(images: Iterable[Path], labels: list[Path], folder: Path) -> list[Path]:
    """The images without a label file, but those of a test/ whose labels are not published."""

    def of_test(path: Path) -> bool:
        return "test" in path.relative_to(folder).parts[1:-1]

    stems, published = {label.stem for label in labels}, any(map(of_test, labels))
    return [image for image in images if image.stem not in stems and (published or not of_test(image))]


def read_folder(
    folder: str | os.PathLike, classes: Sequence[str], split: str, check: FileCheck
) -> Iterator[tuple[Path, tuple[int, int], OrientedLabels]]:
    """Read the oriented boxes of all images of a folder.

    Boxes without area are left out, noted in `check.problems` under WITHOUT_AREA.

    Args:
        folder, split: see `find_oriented`.
        classes: the names of the classes, as the files spell them.
        check: how to treat mistakes: a strict check raises; otherwise, images that cannot be read or whose label file
            cannot be used are left out, as are boxes of other classes or outside their image, and what `find_oriented`
            leaves out.

    Yields:
        The image, its (height, width) and its boxes, in the order of the label files.

    Raises:
        OSError, InputError: the folder cannot be used, or a strict check fails.
    """
    for image, label in find_oriented(folder, split, check):
        labels = check.attempt(
            lambda label=label, image=image: read_oriented(label, image), "label files cannot be used"
        )
        size = check.attempt(lambda image=image: image_size(image), "images cannot be read")
        if labels is None or size is None:
            continue
        strange = Counter(name for name in labels.class_names if name not in classes)
        check.keep(
            strange, lambda name: False, f"classes are {', '.join(classes)}",
            lambda name, label=label, count=strange: f"{label}: {counted(count[name], 'box')} of {name!r}",
        )  # fmt: skip
        flat = (labels.corners.min(1) == labels.corners.max(1)).any(1)
        check.note(WITHOUT_AREA, (f"{label}: box {i}" for i in np.flatnonzero(flat)))
        around = np.concatenate([labels.corners.min(1), labels.corners.max(1)], 1)
        usable = [i for i, name in enumerate(labels.class_names) if name in classes and not flat[i]]
        kept = check.keep(
            usable, lambda i, box=around, size=size: touches_image(box[i], size), "boxes lie outside their image",
            lambda i, label=label: f"{label}: box {i}",
        )  # fmt: skip
        names = [labels.class_names[i] for i in kept]
        yield image, size, OrientedLabels(labels.corners[kept], names, labels.difficult[kept])


def read_oriented(label_file: str | os.PathLike, image: str | os.PathLike | None = None) -> OrientedLabels:
    """Read the oriented boxes of one image, from files that `find_oriented` found.

    Args:
        label_file: DOTA's .txt, SODA-A's .json, or YOLO-OBB's .txt, which lies somewhere under a folder labels/.
        image: the image, for YOLO-OBB, whose coordinates are shares of its size.

    Returns:
        The boxes, possibly none.

    Raises:
        OSError: a file is missing or cannot be read.
        InputError: the label file is malformed; see `read_dota`, `read_soda_a` and `read_yolo_obb`.
    """
    label_file = Path(label_file)
    if label_file.suffix == ".json":
        return read_soda_a(label_file)
    layouts = [name for name in label_file.parts[:-1] if name in (_DOTA_LABELS, YOLO_LABELS)]
    if image is not None and layouts[-1:] == [YOLO_LABELS]:
        return read_yolo_obb(label_file, image_size(image))
    return read_dota(label_file)


def read_yolo_obb(
    label_file: str | os.PathLike, size: tuple[int, int], names: Mapping[int, str] | None = None
) -> OrientedLabels:
    """Read one of YOLO-OBB's label files, as ultralytics trains on.

    A line is "class x1 y1 x2 y2 x3 y3 x4 y4", with x and y as shares of the image's width and height.

    Args:
        label_file: the .txt file.
        size: (height, width) of the image in pixels.
        names: names of the classes by number; None to read them from the YAML file of the dataset, see
            `class_names_of`.

    Returns:
        The boxes, possibly none. `difficult` is False for all.

    Raises:
        OSError: the file is missing or cannot be read.
        InputError: a line is malformed, or a class has no name; the message names the file and the line.
    """
    height, width = size
    label_file = Path(label_file)
    labels = read_yolo_lines(label_file, "class x1 y1 x2 y2 x3 y3 x4 y4", lambda count: count == 8)
    names = class_names_of(label_file) if names is None else names
    corners = [(np.array(values).reshape(4, 2) * (width, height)).ravel() for _, values in labels]
    return _labels(corners, [class_name(names, number, label_file) for number, _ in labels], [False] * len(labels))


def read_dota(label_file: str | os.PathLike) -> OrientedLabels:
    """Read one of DOTA's label files.

    A line is "x1 y1 x2 y2 x3 y3 x4 y4 class difficult", in pixels; `difficult` (0, 1, or 2 for a box that was cut by
    the edge of a crop) may be missing. Lines "imagesource:..." and "gsd:..." and empty lines are skipped.

    Args:
        label_file: the .txt file.

    Returns:
        The boxes, possibly none.

    Raises:
        OSError: the file is missing or cannot be read.
        InputError: a line is malformed; the message names the file and the line.
    """
    label_file = Path(label_file)
    corners, names, difficult = [], [], []
    for number, line in enumerate(read_text(label_file).splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith(("imagesource:", "gsd:")):
            continue
        numbers = [_number(word) for word in words[:8]]
        where = f"{label_file}, line {number}"
        if len(words) not in (9, 10) or not all(map(math.isfinite, numbers)) or not math.isnan(_number(words[8])):
            expected = "x1 y1 x2 y2 x3 y3 x4 y4 class difficult"
            raise InputError(f"{where}: expected {expected}, got {line.strip()!r:.80}")
        if len(words) == 10 and not is_index(words[9]):
            raise InputError(f"{where}: expected difficult as 0, 1 or 2, got {words[9]!r:.80}")
        corners.append(numbers)
        names.append(words[8])
        difficult.append(len(words) == 10 and int(words[9]) > 0)
    return _labels(corners, names, difficult)


def read_soda_a(json_file: str | os.PathLike) -> OrientedLabels:
    """Read one of SODA-A's annotation files.

    It holds {"categories": [{"id", "name"}, ...], "annotations": [{"poly", "category_id"}, ...]}, where a "poly" is
    [x1, y1, x2, y2, ...] in pixels. A polygon that does not have four corners, as a few in SODA-A, is replaced
    by the smallest rectangle around it. Polygons of fewer than three corners are left out with one warning, regions of
    the class "ignore" silently.

    Args:
        json_file: the file of one image.

    Returns:
        The boxes, possibly none. `difficult` is False for all, since SODA-A has no such flag.

    Raises:
        OSError: the file is missing or cannot be read.
        InputError: the file is malformed; the message names the file and the annotation.
    """
    json_file = Path(json_file)
    content = read_json(json_file)
    if not isinstance(content, dict) or not all(
        isinstance(content.get(k), list) for k in ("categories", "annotations")
    ):
        raise InputError(f'{json_file}: not a SODA-A file: expected lists "categories" and "annotations"')
    try:
        categories = {int(c["id"]): str(c["name"]) for c in content["categories"]}
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(f"{json_file}: categories need id and name") from error
    corners, names, unusable = [], [], []
    for i, annotation in enumerate(content["annotations"]):
        where = f"{json_file}: annotations[{i}]"
        poly = annotation.get("poly") if isinstance(annotation, dict) else None
        if not isinstance(poly, list) or len(poly) % 2 or not all(math.isfinite(_number(v)) for v in poly):
            raise InputError(f"{where}: expected poly [x1, y1, ...] of finite numbers, got {poly!r:.80}")
        category = annotation.get("category_id")
        name = categories.get(int(category)) if is_index(str(category)) else None
        if name is None:
            raise InputError(f"{where}: unknown category_id {category!r:.80}")
        if name == _IGNORED:
            continue
        if len(poly) < 6:
            unusable.append(i)
            continue
        corners.append(poly if len(poly) == 8 else _smallest_rectangle(poly))
        names.append(name)
    if unusable:
        _logger.warning(
            f"{json_file}: left out {counted(len(unusable), 'polygon')} of fewer than 3 corners: {first(unusable)}"
        )
    return _labels(corners, names, [False] * len(names))


def _labels(corners: list, names: list[str], difficult: list[bool]) -> OrientedLabels:
    return OrientedLabels(np.array(corners, np.float32).reshape(-1, 4, 2), names, np.array(difficult, bool))


def _smallest_rectangle(poly: list[float]) -> list[float]:
    points = np.array(poly, np.float32).reshape(-1, 2)
    return cv2.boxPoints(cv2.minAreaRect(points)).ravel().tolist()


def _number(value) -> float:
    """The number, or NaN."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
