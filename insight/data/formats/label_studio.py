"""Label Studio's JSON: its rectangles, rotated or not, polygons and brushes, to and from COCO."""

import json
import logging
import math
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit
from xml.sax.saxutils import quoteattr

import numpy as np

from insight.errors import InputError
from insight.runtime.atomic_files import atomic_write
from insight.structures.rle import encode_crop, masks_to_rle, rle_box, rle_to_bitmap

from .images import SUFFIXES
from .label_studio_brush import decode_brush, encode_brush
from .objects import box_corners_of, is_rotated, mask_code, mask_outlines, objects_by_image

_LABELS = {"rectanglelabels": "rectangle", "polygonlabels": "polygon", "brushlabels": "brush"}
_CONFIG = """<View>
  <Image name="image" value="$image" zoom="true"/>
{labels}
</View>
"""
_TAGS = (("rectanglelabels", "RectangleLabels", 'canRotate="true"'), ("polygonlabels", "PolygonLabels", ""),
         ("brushlabels", "BrushLabels", ""))  # fmt: skip

_logger = logging.getLogger(__name__)


def is_label_studio(content: object) -> bool:
    """Return whether the content of a JSON file is a list of Label Studio tasks."""
    return (
        isinstance(content, list)
        and len(content) > 0
        and all(isinstance(t, dict) and isinstance(t.get("annotations"), list) and "data" in t for t in content)
    )


def label_studio_to_coco(tasks: list[dict], path: Path) -> dict:
    """Convert Label Studio tasks to a COCO dictionary.

    If a task has several annotations, the last one counts. Tasks without a region are left out with a warning, since
    the export gives the size of an image only with its regions. Regions of other kinds (ellipse, key points) are left
    out, with a warning.

    Args:
        tasks: content of the file.
        path: the file, for errors.

    Returns:
        COCO dictionary with "oriented_box" for rectangles, of the whole file if any is rotated. Categories are in
        alphabetical order. An image is named after its upload, or else after the end of its URL.

    Raises:
        InputError: a task or region is malformed.

    Source: Label Studio's documentation of its JSON format: x, y, width and height in percent of the image, rotation
    in degrees, clockwise around the upper left corner.
    """
    images, regions, empty, others = [], [], 0, 0
    for position, task in enumerate(tasks):
        where = f"{path}: task {task.get('id', position)}"
        try:
            results = next((a["result"] for a in reversed(task["annotations"]) if not a.get("was_cancelled")), [])
            found = [(r, _LABELS[r["type"]]) for r in results if r.get("type") in _LABELS]
            others += sum(r.get("type") not in _LABELS and "value" in r for r in results)
            if not found:
                empty += 1
                continue
            width, height = found[0][0]["original_width"], found[0][0]["original_height"]
            image_id = len(images) + 1
            images.append({"id": image_id, "file_name": _file_name(task), "height": height, "width": width})
            for region, kind in found:
                name = region["value"][region["type"]][0]
                value = region["value"]
                shape = _SHAPES[kind](value, width, height)
                regions.append((name, {"image_id": image_id, "iscrowd": 0, **shape}))
        except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
            raise InputError(f"{where}: not in Label Studio's JSON format ({error!r})") from error
    for count, what in ((empty, "tasks without rectangle or polygon"), (others, "regions of other kinds")):
        if count:
            _logger.warning(f"{path}: left out {count} {what}")
    names = sorted({name for name, _ in regions}, key=str)
    rotated = any(shape.get("oriented_box", [0] * 5)[4] for _, shape in regions)
    annotations = []
    for number, (name, shape) in enumerate(regions, 1):
        if not rotated:
            shape.pop("oriented_box", None)
        annotations.append({"id": number, "category_id": names.index(name) + 1, **shape})
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in enumerate(names, 1)],
    }


def write_label_studio(content: dict[str, Any], path: Path) -> Counter[str]:
    """Write tasks that Label Studio imports, and beside them its labelling configuration, NAME.config.xml.

    An object of one part without holes becomes a polygon, any other mask a brush; an object without mask a rectangle,
    rotated where its box is.

    Args:
        content: a COCO dictionary, as `read_coco` returns it.
        path: the .json file. The tasks name images as /data/local-files/?d=FILE_NAME, Label Studio's form for files in
            its LOCAL_FILES_DOCUMENT_ROOT.

    Returns:
        What was lost or changed, with the number of objects, for people.

    Raises:
        OSError: a file cannot be written.
    """
    losses: Counter[str] = Counter()
    names = {category["id"]: category["name"] for category in content["categories"]}
    by_image = objects_by_image(content, losses, one_shape=True)
    with atomic_write(path) as file:
        file.write("[")
        for number, image in enumerate(content["images"]):
            size = (image["height"], image["width"])
            regions = []
            for annotation in by_image[image["id"]]:
                kind, value = _region(annotation, size)
                value[kind] = [names[annotation["category_id"]]]
                regions.append({"id": f"object{annotation['id']}", "type": kind, "from_name": kind, "to_name": "image",
                                "original_width": size[1], "original_height": size[0], "image_rotation": 0,
                                "value": value})  # fmt: skip
            url = f"/data/local-files/?d={quote(image['file_name'])}"
            task = {"data": {"image": url}, "annotations": [{"result": regions}]}
            file.write((",\n" if number else "\n") + json.dumps(task))
        file.write("\n]\n")
    lines = []
    for kind, tag, options in _TAGS:
        labels = "".join(f"<Label value={quoteattr(name)}/>" for name in names.values())
        lines.append(f'  <{tag} name="{kind}" toName="image" {options}>{labels}</{tag}>')
    with atomic_write(path.with_suffix(".config.xml")) as file:
        file.write(_CONFIG.format(labels="\n".join(lines)))
    return losses


def _region(annotation: dict[str, Any], size: tuple[int, int]) -> tuple[str, dict[str, Any]]:
    height, width = size
    outlines, holes = mask_outlines(annotation, size)
    if len(outlines) == 1 and not holes:
        return "polygonlabels", {"points": (outlines[0] * 100 / (width, height)).tolist(), "closed": True}
    if outlines:
        return "brushlabels", {"format": "rle", "rle": encode_brush(rle_to_bitmap(mask_code(annotation, size)))}
    corners, _ = box_corners_of(annotation, size)
    if is_rotated(corners):
        first, second, third, _ = corners  # clockwise as displayed: along the upper side, then down
        along, down = second - first, third - second
    else:
        first, (x2, y2) = corners.min(0), corners.max(0)
        along, down = np.array([x2 - first[0], 0]), np.array([0, y2 - first[1]])
    value = {"x": first[0] * 100 / width, "y": first[1] * 100 / height,
             "width": float(np.hypot(*along)) * 100 / width, "height": float(np.hypot(*down)) * 100 / height,
             "rotation": math.degrees(math.atan2(along[1], along[0])) % 360}  # fmt: skip
    return "rectanglelabels", value


def _rectangle(value: dict, image_width: int, image_height: int) -> dict:
    x, width = (value[key] * image_width / 100 for key in ("x", "width"))
    y, height = (value[key] * image_height / 100 for key in ("y", "height"))
    angle = math.radians(value.get("rotation", 0))
    right, down = (math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))
    centre = [start + width / 2 * r + height / 2 * d for start, r, d in zip((x, y), right, down)]
    corners = [(x + i * width * right[0] + j * height * down[0], y + i * width * right[1] + j * height * down[1])
               for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))]  # fmt: skip
    return {"bbox": _bounds(corners), "oriented_box": [*centre, width, height, -value.get("rotation", 0) % 360]}


def _polygon(value: dict, image_width: int, image_height: int) -> dict:
    points = [(x * image_width / 100, y * image_height / 100) for x, y in value["points"]]
    return {"bbox": _bounds(points), "segmentation": [[v for point in points for v in point]]}


def _brush(value: dict, image_width: int, image_height: int) -> dict:
    size = (image_height, image_width)
    code = encode_crop(decode_brush(value["rle"], size), (0, 0), size)
    return {"bbox": rle_box(code), "segmentation": masks_to_rle([code])[0]}


_SHAPES = {"rectangle": _rectangle, "polygon": _polygon, "brush": _brush}


def _bounds(points: list[tuple[float, float]]) -> list[float]:
    xs, ys = zip(*points)
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _file_name(task: dict) -> str:
    """The image's name: of the upload, or the end of its URL, of local files the end of the path in it (?d=)."""
    data = task["data"]
    urls = [data["image"]] if "image" in data else [v for v in data.values() if isinstance(v, str)]
    urls = [u for u in [task.get("file_upload") or "", *urls] if u.lower().split("?")[0].endswith(SUFFIXES)
            or "?d=" in u]  # fmt: skip
    if not urls:
        raise InputError(f"its data names no image: expected a URL that ends in one of {', '.join(SUFFIXES)}")
    parts = urlsplit(urls[0])
    return Path(unquote(parse_qs(parts.query).get("d", [parts.path])[0])).name
