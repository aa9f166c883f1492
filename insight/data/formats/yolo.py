"""YOLO datasets of polygons, oriented boxes and boxes, as ultralytics trains on: images/, labels/, data.yaml."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from insight.errors import InputError
from insight.runtime.atomic_files import atomic_write
from insight.runtime.folders import files_under

from .image_folders import images_of_labels, label_paths, link_images
from .images import image_size
from .objects import bounds, box_corners_of, joined, mask_outlines, objects_by_image
from .yolo_text import YOLO_LABELS, class_name, class_names_of, read_yolo_lines

_FORMS = {
    "yolo": ("class x y width height", lambda count: count == 4),
    "yolo-obb": ("class x1 y1 x2 y2 x3 y3 x4 y4", lambda count: count == 8),
    "yolo-seg": ("class x1 y1 x2 y2 x3 y3 ...", lambda count: count >= 6 and count % 2 == 0),
}


def guess_yolo_form(folder: Path) -> str:
    """Guess what the labels of a YOLO dataset are, by how many numbers their lines have.

    Args:
        folder: the dataset.

    Returns:
        "yolo" for boxes, "yolo-obb" if all objects have four corners, else "yolo-seg".
    """
    counts: set[int] = set()
    for path in files_under(folder / YOLO_LABELS, (".txt",)):
        counts |= {len(values) for _, values in read_yolo_lines(path, "class and numbers")}
        if len(counts - {4, 8}):
            return "yolo-seg"
    return "yolo" if counts == {4} else "yolo-obb" if counts <= {8} else "yolo-seg"


def read_yolo(folder: Path, form: str, image_root: Path | None = None) -> dict[str, Any]:
    """Read a YOLO dataset.

    Args:
        folder: with images/ and labels/, and data.yaml for the names of the classes.
        form: "yolo" (boxes), "yolo-obb" (oriented boxes) or "yolo-seg" (polygons).
        image_root: folder of the images, instead of images/.

    Returns:
        A COCO dictionary: polygons as segmentations, oriented boxes as "oriented_box". Images without a label file are
        left out. Names of images are relative to their folder.

    Raises:
        OSError: a file is missing or cannot be read.
        InputError: a file is malformed, or a label file has no image.
    """
    expected, fits = _FORMS[form]
    image_root = image_root or folder / "images"
    label_folder = folder / YOLO_LABELS
    for needed in (image_root, label_folder):
        if not needed.is_dir():
            raise InputError(f"{needed}: no such folder; expected images/ and labels/ (YOLO)")
    labels = files_under(label_folder, (".txt",))
    images, annotations = [], []
    names = class_names_of(label_folder)
    listed: dict[str, int] = {}  # a name that several numbers have is one class
    for number, name in sorted((names or {}).items()):
        listed.setdefault(name, number)
    for label, path in images_of_labels(labels, label_folder, image_root).items():
        height, width = image_size(path)
        image_id = len(images) + 1
        name = path.relative_to(image_root).as_posix()
        images.append({"id": image_id, "file_name": name, "height": height, "width": width})
        for number, values in read_yolo_lines(label, expected, fits):
            category = listed.setdefault(class_name(names, number, label), number)
            annotations.append(
                {"id": len(annotations) + 1, "image_id": image_id, "category_id": category + 1, "iscrowd": 0}
                | _shape(form, np.array(values), width, height)
            )
    categories = [{"id": number + 1, "name": name} for name, number in sorted(listed.items(), key=lambda pair: pair[1])]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_yolo(content: dict[str, Any], folder: Path, form: str, image_root: Path | None = None) -> Counter[str]:
    """Write a YOLO dataset.

    Args:
        content: a COCO dictionary, as `read_coco` returns it.
        folder: gets labels/, data.yaml, and links to the images in images/.
        form: "yolo-obb" or "yolo-seg". An object without mask becomes the polygon of its box in "yolo-seg"; one with a
            mask and no oriented box the smallest rectangle around it in "yolo-obb".
        image_root: folder of the images; None: no links.

    Returns:
        What was lost or changed, with the number of objects, for people.

    Raises:
        OSError: a file cannot be written.
        InputError: two images would share a label file.
    """
    losses: Counter[str] = Counter()
    numbers = {category["id"]: i for i, category in enumerate(content["categories"])}
    by_image = objects_by_image(content, losses)
    paths = label_paths((image["file_name"] for image in content["images"]), ".txt")
    for image in content["images"]:
        size = (image["height"], image["width"])
        with atomic_write(folder / YOLO_LABELS / paths[image["file_name"]]) as file:
            for annotation in by_image[image["id"]]:
                outline = (_polygon if form == "yolo-seg" else _box)(annotation, size, losses)
                shares = np.clip(outline / size[::-1], 0, 1) if form == "yolo-seg" else outline / size[::-1]
                text = " ".join(f"{value:.8f}".rstrip("0").rstrip(".") for value in shares.ravel())
                file.write(f"{numbers[annotation['category_id']]} {text}\n")
    losses["images missing"] = link_images(paths, image_root, folder / "images")
    with atomic_write(folder / "data.yaml") as file:
        file.write("path: .\ntrain: images\nval: images\nnames:\n")
        file.writelines(f"  {i}: {json.dumps(c['name'])}\n" for i, c in enumerate(content["categories"]))
    return losses


def _shape(form: str, values: np.ndarray, width: int, height: int) -> dict[str, Any]:
    if form == "yolo":
        centre, size = values[:2] * (width, height), values[2:] * (width, height)
        return {"bbox": [*(centre - size / 2).tolist(), *size.tolist()]}
    points = values.reshape(-1, 2) * (width, height)
    shape = "oriented_box" if form == "yolo-obb" else "segmentation"
    flat = points.ravel().tolist()
    return {"bbox": bounds(points), shape: flat if form == "yolo-obb" else [flat]}


def _polygon(annotation: dict[str, Any], size: tuple[int, int], losses: Counter[str]) -> np.ndarray:
    outlines, holes = mask_outlines(annotation, size)
    outlines = [outline for outline in outlines if len(outline) >= 3]
    if not outlines:
        losses["boxes written as polygons"] += 1
        return box_corners_of(annotation, size)[0]
    losses["holes filled"] += len(holes)
    losses["objects of several parts joined by lines"] += len(outlines) > 1
    losses["oriented boxes left out"] += "oriented_box" in annotation
    return joined(outlines)


def _box(annotation: dict[str, Any], size: tuple[int, int], losses: Counter[str]) -> np.ndarray:
    corners, made_of = box_corners_of(annotation, size)
    losses["masks replaced by boxes"] += bool(annotation.get("segmentation"))
    losses["horizontal boxes written as oriented ones"] += made_of == "bbox"
    return corners
