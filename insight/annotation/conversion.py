"""Conversion between annotation formats, by way of COCO's."""

import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from insight.data.formats.coco import read_coco
from insight.data.formats.coco_writer import open_coco
from insight.data.formats.cvat import write_cvat
from insight.data.formats.file_check import FileCheck, read_json
from insight.data.formats.label_studio import is_label_studio, write_label_studio
from insight.data.formats.labelme import read_labelme, write_labelme
from insight.data.formats.objects import mask_outlines
from insight.data.formats.oriented_writers import read_oriented_folder, write_dota, write_soda_a
from insight.data.formats.voc import read_voc
from insight.data.formats.yolo import guess_yolo_form, read_yolo, write_yolo
from insight.errors import InputError
from insight.runtime.atomic_files import temporary_folder
from insight.runtime.outputs import check_output_file, check_output_folder

from .format_names import READABLE, VECTOR_SUFFIXES, WRITABLE, format_by_suffix

_Content = dict[str, Any]


class _Format(NamedTuple):
    """How a format is read, (path, image_root) -> COCO dictionary, and written; None where it is not."""

    read: Callable[[Path, Path | None], _Content] | None
    write: Callable[[_Content, Path, Path | None], Counter[str]] | None
    is_file: bool = False


def read_dataset(path: Path) -> _Content:
    """Read a COCO file, or Label Studio's, in which some objects may have masks and others boxes only.

    Args:
        path: the .json file.

    Returns:
        As `read_coco`, with "left_out": numbers of objects that were left out, by reason.

    Raises:
        OSError, InputError: as `read_coco`.
    """
    check = FileCheck(path)
    content = read_coco(path, check=check, mixed=True)
    return {**content, "left_out": {f"left out, as {reason}": len(who) for reason, who in check.problems.items()}}


def _write_coco(content: _Content, path: Path, image_root: Path | None) -> Counter[str]:
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    with open_coco(path, content["categories"]) as coco:
        for image in content["images"]:
            coco.add_image(image)
        for annotation in content["annotations"]:
            size = sizes[annotation["image_id"]]
            coco.add({"area": _area(annotation, size), "iscrowd": 0, **annotation})
    return Counter()


def _area(annotation: dict[str, Any], size: tuple[int, int]) -> float:
    rings = [outline for outlines in mask_outlines(annotation, size) for outline in outlines]
    if not rings:
        return annotation["bbox"][2] * annotation["bbox"][3]
    areas = []
    for x, y in (ring.T for ring in rings):  # of opposite sign around holes
        areas.append((x @ [*y[1:], y[0]] - y @ [*x[1:], x[0]]) / 2)
    return round(float(abs(sum(areas) if isinstance(annotation["segmentation"], dict) else sum(map(abs, areas)))), 2)


def _read_vector(path: Path, image_root: Path | None) -> _Content:
    from insight.geo.datasets import read_vector

    if image_root is None:
        raise InputError(f"images: expected the image or the folder of images that {path} lies on, got none")
    return read_vector(path, image_root)


def _write_vector(content: _Content, path: Path, image_root: Path | None) -> Counter[str]:
    from insight.geo.datasets import write_vector

    return write_vector(content, path, image_root)


FORMATS = {
    "coco": _Format(lambda path, images: read_dataset(path), _write_coco, is_file=True),
    "yolo": _Format(lambda path, images: read_yolo(path, "yolo", images), None),
    "yolo-seg": _Format(
        lambda path, images: read_yolo(path, "yolo-seg", images),
        lambda content, path, images: write_yolo(content, path, "yolo-seg", images),
    ),
    "yolo-obb": _Format(
        lambda path, images: read_yolo(path, "yolo-obb", images),
        lambda content, path, images: write_yolo(content, path, "yolo-obb", images),
    ),
    "dota": _Format(lambda path, images: read_oriented_folder(path), write_dota),
    "soda-a": _Format(lambda path, images: read_oriented_folder(path), write_soda_a),
    "voc": _Format(lambda path, images: read_voc(path), None),
    "labelme": _Format(lambda path, images: read_labelme(path), write_labelme),
    "label-studio": _Format(
        lambda path, images: read_dataset(path),
        lambda content, path, images: write_label_studio(content, path),
        is_file=True,
    ),
    "cvat": _Format(None, lambda content, path, images: write_cvat(content, path), is_file=True),
    "vector": _Format(_read_vector, _write_vector, is_file=True),
}


@dataclass(frozen=True)
class Conversion:
    """The result of a conversion.

    Args:
        source_format, target_format: names in `FORMATS`.
        images, objects: how many were written.
        losses: what was left out or changed, with the number of objects.
    """

    source_format: str
    target_format: str
    images: int
    objects: int
    losses: dict[str, int]


def convert(
    source: str | os.PathLike,
    output: str | os.PathLike,
    *,
    source_format: str | None = None,
    target_format: str | None = None,
    image_root: str | os.PathLike | None = None,
    replace: bool = False,
) -> Conversion:
    """Convert a dataset of annotations.

    Args:
        source: a file or folder in one of the formats `READABLE`.
        output: a file or folder, which appears when it is whole.
        source_format: its format; None to recognise it by its files.
        target_format: the format to write, one of `WRITABLE`; None to choose it by the suffix of `output`: .json COCO,
            .xml CVAT, .gpkg, .geojson, .fgb, .parquet or .shp a vector layer.
        image_root: folder of the images. By default the one in the source, if it has one. YOLO, DOTA and SODA-A get
            links to the images, LabelMe paths; vector layers need them for their coordinates.
        replace: replace an output folder that holds files.

    Returns:
        What was written and what was lost.

    Raises:
        OSError: a file cannot be read or written.
        InputError: the source is malformed, or a format is unknown or not recognised.
    """
    source, output = Path(source), Path(output)
    if not source.exists() and "|layername=" not in str(source):
        raise FileNotFoundError(f"no such file or folder: {source}")
    source_format = source_format or recognise(source)
    target_format = target_format or format_by_suffix(output)
    for name, choices, what in ((source_format, READABLE, "read"), (target_format, WRITABLE, "written")):
        if name not in choices:
            raise InputError(f"format: {name!r} cannot be {what}; expected one of {', '.join(choices)}")
    target = FORMATS[target_format]
    if target.is_file:
        check_output_file(output)
    else:
        check_output_folder(output)
        if output.is_dir() and any(output.iterdir()) and not replace:
            raise InputError(f"output: expected a new or empty folder, but {output} holds files")
    if output.exists() and source.exists() and output.samefile(source):
        raise InputError(f"output: {output} is the source; choose another name")
    images = None if image_root is None else Path(image_root)
    if images is not None and not images.exists():
        raise FileNotFoundError(f"images: {images}: no such folder")
    if not target.is_file:
        _require_outside(output, [path for path in (source, images) if path is not None])
    reader = FORMATS[source_format].read
    assert reader is not None
    content = reader(source, images)
    if images is None:
        images = images_in(source)
    return write_content(content, output, target_format, images, source_format)


def _require_outside(output: Path, inputs: list[Path]) -> None:
    """Refuse an output folder that holds what is read: replacing the folder would remove it."""
    for path in inputs:
        if path.resolve().is_relative_to(output.resolve()):
            raise InputError(f"output: {output} holds {path}, which is read; choose another folder")


def write_content(
    content: _Content, output: Path, target_format: str, image_root: Path | None, source_format: str = "coco"
) -> Conversion:
    """Write a COCO dictionary in one of the formats `WRITABLE`.

    Args:
        content: as `read_coco` returns it; "left_out" may count what its reader left out.
        output: the file or folder; what is there is replaced.
        target_format: the format.
        image_root: folder of the images, or the only image, or None.
        source_format: for the result.

    Returns:
        What was written and what was lost.

    Raises:
        OSError: a file cannot be read or written.
        InputError: the format cannot hold the content.
    """
    target = FORMATS[target_format]
    assert target.write is not None
    if image_root is not None and image_root.is_file():  # the one image
        image_root = image_root.parent
    losses: Counter[str] = Counter(content.get("left_out", {}))
    if target.is_file:
        losses += target.write(content, output, image_root)
    else:
        with temporary_folder(output) as folder:
            losses += target.write(content, folder, image_root)
            if output.is_dir():
                shutil.rmtree(output)
            os.rename(folder, output)
    objects = len(content["annotations"]) - losses["crowd regions left out"]
    counts = {what: count for what, count in losses.items() if count}
    return Conversion(source_format, target_format, len(content["images"]), objects, counts)


def recognise(source: Path) -> str:
    """Recognise the format of a dataset by its files.

    Args:
        source: the file or folder.

    Returns:
        A name in `READABLE`.

    Raises:
        InputError: it is not recognised.
    """
    suffix = source.suffix.lower()
    if suffix in VECTOR_SUFFIXES or suffix == ".csv" or "|layername=" in source.name:
        return "vector"
    if source.is_file() and suffix == ".json":
        content = read_json(source)
        if isinstance(content, dict) and content.get("type") == "FeatureCollection":
            return "vector"
        return "label-studio" if is_label_studio(content) else "coco"
    if source.is_dir():
        folders = {child.name for child in source.iterdir() if child.is_dir()}
        if "labelTxt" in folders:
            return "dota"
        if any((source / "Annotations").glob("*.xml")):
            return "voc"
        if {"Images", "Annotations"} <= folders:
            return "soda-a"
        if "labels" in folders:
            return guess_yolo_form(source)
        if next(source.rglob("*.json"), None) is not None:
            return "labelme"
        if next(source.rglob("*.xml"), None) is not None:
            return "voc"
    raise InputError(f"{source}: its format is not recognised; name it, one of {', '.join(READABLE)}")


def images_in(source: Path) -> Path | None:
    """Find the folder of the images in a dataset.

    Args:
        source: a file or folder.

    Returns:
        Its sub-folder images/, Images/ or JPEGImages/, else the folder itself; None for a file.
    """
    found = [source / name for name in ("images", "Images", "JPEGImages") if (source / name).is_dir()]
    return found[0] if found else source if source.is_dir() else None
