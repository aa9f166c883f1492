"""LabelMe's JSON files: one for each image, with polygons, rectangles, rotated rectangles and masks."""

import base64
import io
import json
import os
from collections import Counter
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from PIL import Image

from insight.errors import InputError
from insight.runtime.atomic_files import atomic_write
from insight.structures.rle import encode_crop, masks_to_rle, rle_box, rle_union, segmentation_to_rle

from .file_check import read_json
from .image_folders import label_paths
from .images import encode_png
from .objects import bounds, box_corners_of, is_rotated, mask_crop, mask_outlines, objects_by_image

_VERSION = "6.3.1"  # of LabelMe, whose form is written


def read_labelme(folder: Path) -> dict[str, Any]:
    """Read a folder of LabelMe files.

    Args:
        folder: .json files, also in sub-folders. Images need not be there.

    Returns:
        A COCO dictionary: polygons and masks as segmentations, rotated ones as "oriented_box". Shapes of one label
        and one group_id are parts of an object. Categories are in alphabetical order. Names of images are relative to
        the folder.

    Raises:
        OSError: a file cannot be read.
        InputError: no file, or a malformed one; the message names it.
    """
    paths = sorted(folder.rglob("*.json"))
    images, found, others = [], [], Counter[str]()
    for path in paths:
        content = read_json(path)
        try:
            size = (int(content["imageHeight"]), int(content["imageWidth"]))
            image = path.parent / PureWindowsPath(content["imagePath"]).as_posix()
            image_id = len(images) + 1
            name = Path(os.path.relpath(image, folder)).as_posix()
            images.append({"id": image_id, "file_name": name, "height": size[0], "width": size[1]})
            groups: dict[Any, list] = {}
            for number, shape in enumerate(content["shapes"]):
                kind, group = shape.get("shape_type") or "polygon", shape.get("group_id")
                if kind not in _READERS:
                    others[kind] += 1
                    continue
                fields = _READERS[kind](np.array(shape["points"], float).reshape(-1, 2), shape, size)
                key = (shape["label"], ("shape", number) if group is None or "segmentation" not in fields else group)
                groups.setdefault(key, []).append(fields)
            for (label, _), parts in groups.items():
                whole = parts[0] if len(parts) == 1 else _united(parts, size)
                found.append((str(label), {"image_id": image_id, "iscrowd": 0, **whole}))
        except (LookupError, TypeError, ValueError, AttributeError, OSError) as error:
            raise InputError(f"{path}: not in LabelMe's JSON format ({error!r})") from error
    if not images:
        raise InputError(f"{folder}: expected LabelMe's .json files, got none")
    ids = {name: i for i, name in enumerate(sorted({name for name, _ in found}), 1)}
    annotations = [{"id": i, "category_id": ids[name], **fields} for i, (name, fields) in enumerate(found, 1)]
    categories = [{"id": i, "name": name} for name, i in ids.items()]
    left_out = {f"shapes of the type {kind}": count for kind, count in others.items()}
    return {"images": images, "annotations": annotations, "categories": categories, "left_out": left_out}


def write_labelme(content: dict[str, Any], folder: Path, image_root: Path | None = None) -> Counter[str]:
    """Write a LabelMe file for each image.

    An object of one part without holes becomes a polygon, any other mask a shape of the type "mask"; an object without
    mask a rectangle, rotated where its box is.

    Args:
        content: a COCO dictionary, as `read_coco` returns it.
        folder: gets the files.
        image_root: folder of the images, to which the files point; None: the images lie beside the files.

    Returns:
        What was lost or changed, with the number of objects, for people.

    Raises:
        OSError: a file cannot be written.
        InputError: two images would share a file.
    """
    losses: Counter[str] = Counter()
    names = {category["id"]: category["name"] for category in content["categories"]}
    by_image = objects_by_image(content, losses, one_shape=True)
    paths = label_paths((image["file_name"] for image in content["images"]), ".json")
    for image in content["images"]:
        path = folder / paths[image["file_name"]]
        there = (image_root or folder) / image["file_name"]
        size = (image["height"], image["width"])
        shapes = [
            {"label": names[one["category_id"]], "group_id": None, "description": "", "flags": {}, **_shape(one, size)}
            for one in by_image[image["id"]]
        ]
        entry = {
            "version": _VERSION,
            "flags": {},
            "shapes": shapes,
            "imagePath": Path(os.path.relpath(there.absolute(), path.parent.absolute())).as_posix(),
            "imageData": None,
            "imageHeight": size[0],
            "imageWidth": size[1],
        }
        with atomic_write(path) as file:
            json.dump(entry, file, indent=1)
    return losses


def _shape(annotation: dict[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    outlines, holes = mask_outlines(annotation, size)
    if len(outlines) == 1 and not holes:
        return {"shape_type": "polygon", "points": outlines[0].astype(float).tolist(), "mask": None}
    if outlines:
        crop, (x, y) = mask_crop(annotation, size)
        height, width = crop.shape
        # LabelMe's points are the mask's first and last pixel.
        corners = [[x, y], [x + width - 1, y + height - 1]]
        encoded = base64.b64encode(encode_png(crop.astype(np.uint8) * 255)).decode()
        return {"shape_type": "mask", "points": [[float(v) for v in corner] for corner in corners], "mask": encoded}
    corners, _ = box_corners_of(annotation, size)
    if is_rotated(corners):
        return {"shape_type": "oriented_rectangle", "points": corners.tolist(), "mask": None}
    return {"shape_type": "rectangle", "points": [corners.min(0).tolist(), corners.max(0).tolist()], "mask": None}


def _polygon(points: np.ndarray, shape: dict, size: tuple[int, int]) -> dict[str, Any]:
    return {"bbox": bounds(points), "segmentation": [points.ravel().tolist()]}


def _rectangle(points: np.ndarray, shape: dict, size: tuple[int, int]) -> dict[str, Any]:
    return {"bbox": bounds(points)}


def _rotated(points: np.ndarray, shape: dict, size: tuple[int, int]) -> dict[str, Any]:
    return {"bbox": bounds(points), "oriented_box": points.reshape(8).tolist()}


def _circle(points: np.ndarray, shape: dict, size: tuple[int, int]) -> dict[str, Any]:
    centre, edge = points
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    ring = centre + np.hypot(*(edge - centre)) * np.stack([np.cos(angles), np.sin(angles)], 1)
    return _polygon(ring, shape, size)


def _mask(points: np.ndarray, shape: dict, size: tuple[int, int]) -> dict[str, Any]:
    mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(shape["mask"])))) > 0
    x, y = np.rint(points[0]).astype(int).tolist()
    return _of_code(encode_crop(np.ascontiguousarray(mask[: size[0] - y, : size[1] - x]), (x, y), size))


def _united(parts: list[dict], size: tuple[int, int]) -> dict[str, Any]:
    if all(isinstance(part["segmentation"], list) for part in parts):
        rings = [ring for part in parts for ring in part["segmentation"]]
        return {"bbox": bounds(np.concatenate([np.array(r).reshape(-1, 2) for r in rings])), "segmentation": rings}
    return _of_code(rle_union([segmentation_to_rle(part["segmentation"], size) for part in parts]))


def _of_code(code: dict) -> dict[str, Any]:
    return {"bbox": rle_box(code), "segmentation": masks_to_rle([code])[0]}


_READERS = {
    "polygon": _polygon,
    "rectangle": _rectangle,
    "oriented_rectangle": _rotated,
    "rotation": _rotated,
    "circle": _circle,
    "mask": _mask,
}
