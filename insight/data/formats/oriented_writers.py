"""Writing datasets of oriented boxes: DOTA's text files and SODA-A's JSON files."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from insight.errors import InputError
from insight.runtime.atomic_files import atomic_write

from .image_folders import label_paths, link_images
from .images import image_size
from .objects import bounds, box_corners_of, objects_by_image
from .oriented import find_oriented, read_oriented


def read_oriented_folder(folder: Path) -> dict[str, Any]:
    """Read a folder in DOTA's, SODA-A's or YOLO-OBB's layout, see `find_oriented`.

    Args:
        folder: the dataset.

    Returns:
        A COCO dictionary with "oriented_box" and "difficult"; categories in alphabetical order.

    Raises:
        OSError: a file is missing or cannot be read.
        InputError: a file is malformed, or the folder has none of the layouts.
    """
    images, found = [], []
    for image_id, (path, label) in enumerate(find_oriented(folder), 1):
        height, width = image_size(path)
        name = Path(*path.relative_to(folder).parts[1:]).as_posix()
        images.append({"id": image_id, "file_name": name, "height": height, "width": width})
        labels = read_oriented(label, path)
        for corners, class_name, difficult in zip(labels.corners.astype(float), labels.class_names, labels.difficult):
            shape = {"bbox": bounds(corners), "oriented_box": corners.ravel().tolist(), "iscrowd": 0}
            found.append((class_name, {"image_id": image_id, **shape, "difficult": bool(difficult)}))
    names = sorted({name for name, _ in found})
    ids = {name: i for i, name in enumerate(names, 1)}
    annotations = [{"id": i, "category_id": ids[name], **fields} for i, (name, fields) in enumerate(found, 1)]
    categories = [{"id": i, "name": name} for name, i in ids.items()]
    return {"images": images, "annotations": annotations, "categories": categories}


def write_dota(content: dict[str, Any], folder: Path, image_root: Path | None = None) -> Counter[str]:
    """Write a folder as DOTA's: labelTxt/*.txt, and links to the images in images/.

    Args:
        content: a COCO dictionary, as `read_coco` returns it. An object with a mask and no oriented box becomes the
            smallest rectangle around it. "difficult" is written where it is there.
        folder: the dataset.
        image_root: folder of the images; None: no links.

    Returns:
        What was lost or changed, with the number of objects, for people.

    Raises:
        OSError: a file cannot be written.
        InputError: two images would share a label file.
    """
    names = {category["id"]: "-".join(category["name"].split()) for category in content["categories"]}
    losses: Counter[str] = Counter()
    losses["classes whose spaces became hyphens"] = sum(names[c["id"]] != c["name"] for c in content["categories"])
    paths = label_paths((image["file_name"] for image in content["images"]), ".txt")
    boxes = _boxes_by_image(content, losses)
    for image in content["images"]:
        with atomic_write(folder / "labelTxt" / paths[image["file_name"]]) as file:
            for annotation, corners in boxes[image["id"]]:
                numbers = " ".join(_short(value) for value in corners.ravel().tolist())
                difficult = int(bool(annotation.get("difficult", False)))
                file.write(f"{numbers} {names[annotation['category_id']]} {difficult}\n")
    losses["images missing"] = link_images(paths, image_root, folder / "images")
    return losses


def write_soda_a(content: dict[str, Any], folder: Path, image_root: Path | None = None) -> Counter[str]:
    """Write a folder as SODA-A's: Annotations/*.json, and links to the images in Images/.

    Args:
        content, folder, image_root: see `write_dota`.

    Returns:
        What was lost or changed, with the number of objects, for people.

    Raises:
        OSError: a file cannot be written.
        InputError: two images would share a label file, or a class is named "ignore", which readers leave out.
    """
    ids = {category["id"]: i for i, category in enumerate(content["categories"])}
    categories = [{"id": i, "name": c["name"]} for i, c in enumerate(content["categories"])]
    if any(category["name"] == "ignore" for category in categories):
        raise InputError('categories: SODA-A gives the class "ignore" to regions without objects; rename it')
    losses: Counter[str] = Counter()
    paths = label_paths((image["file_name"] for image in content["images"]), ".json")
    boxes = _boxes_by_image(content, losses)
    for image in content["images"]:
        annotations = [
            {
                "poly": [float(_short(value)) for value in corners.ravel().tolist()],
                "area": round(_area(corners), 2),
                "category_id": ids[annotation["category_id"]],
                "image_id": image["id"],
                "id": i,
            }
            for i, (annotation, corners) in enumerate(boxes[image["id"]])
        ]
        about = {key: image[key] for key in ("file_name", "height", "width", "id")}
        with atomic_write(folder / "Annotations" / paths[image["file_name"]]) as file:
            json.dump({"images": about, "categories": categories, "annotations": annotations}, file)
        losses["difficult flags left out"] += sum(bool(a.get("difficult", False)) for a, _ in boxes[image["id"]])
    losses["images missing"] = link_images(paths, image_root, folder / "Images")
    return losses


def _boxes_by_image(content: dict[str, Any], losses: Counter[str]) -> dict[Any, list[tuple[dict, np.ndarray]]]:
    """(annotation, corners) by image id."""
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    boxes: dict[Any, list] = {image_id: [] for image_id in sizes}
    for image_id, annotations in objects_by_image(content, losses).items():
        for annotation in annotations:
            corners, made_of = box_corners_of(annotation, sizes[image_id])
            boxes[image_id].append((annotation, corners))
            losses["masks replaced by boxes"] += bool(annotation.get("segmentation"))
            losses["horizontal boxes written as oriented ones"] += made_of == "bbox"
    return boxes


def _area(corners: np.ndarray) -> float:
    x, y = corners.T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def _short(value: float) -> str:
    """A coordinate to a thousandth of a pixel."""
    return f"{value:.3f}".rstrip("0").rstrip(".")
