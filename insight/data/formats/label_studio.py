"""Conversion of Label Studio's JSON export to COCO: rectangles, rotated or not, and polygons."""

import logging
import math
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from insight.errors import InputError

from .images import SUFFIXES

_LABELS = {"rectanglelabels": "rectangle", "polygonlabels": "polygon"}

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
    the export gives the size of an image only with its regions. Regions of other kinds (brush, ellipse, key points) are
    left out, with a warning.

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
                shape = _rectangle(value, width, height) if kind == "rectangle" else _polygon(value, width, height)
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


def _rectangle(value: dict, image_width: int, image_height: int) -> dict:
    x, width = (value[key] * image_width / 100 for key in ("x", "width"))
    y, height = (value[key] * image_height / 100 for key in ("y", "height"))
    turn = math.radians(value.get("rotation", 0))
    right, down = (math.cos(turn), math.sin(turn)), (-math.sin(turn), math.cos(turn))
    centre = [start + width / 2 * r + height / 2 * d for start, r, d in zip((x, y), right, down)]
    corners = [(x + i * width * right[0] + j * height * down[0], y + i * width * right[1] + j * height * down[1])
               for i, j in ((0, 0), (1, 0), (1, 1), (0, 1))]  # fmt: skip
    return {"bbox": _bounds(corners), "oriented_box": [*centre, width, height, -value.get("rotation", 0) % 360]}


def _polygon(value: dict, image_width: int, image_height: int) -> dict:
    points = [(x * image_width / 100, y * image_height / 100) for x, y in value["points"]]
    return {"bbox": _bounds(points), "segmentation": [[v for point in points for v in point]]}


def _bounds(points: list[tuple[float, float]]) -> list[float]:
    xs, ys = zip(*points)
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _file_name(task: dict) -> str:
    """The image's name: of the upload, or the end of its URL, of local files the end of the path in it (?d=)."""
    data = task["data"]
    urls = [data["image"]] if "image" in data else [v for v in data.values() if isinstance(v, str)]
    url = next(u for u in [task.get("file_upload") or "", *urls] if u.lower().split("?")[0].endswith(SUFFIXES)
               or "?d=" in u)  # fmt: skip
    parts = urlsplit(url)
    return Path(unquote(parse_qs(parts.query).get("d", [parts.path])[0])).name
