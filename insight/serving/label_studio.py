"""The shapes of Label Studio: labelling configurations, regions in percent, and results.

Source: Label Studio's documentation of its JSON format and of machine learning backends: x, y, width and height are
percent of the image, `rotation` is in degrees, clockwise around the upper left corner.
"""

import math
import re
import uuid
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np

from insight.data.formats.label_studio_brush import encode_brush
from insight.errors import InputError
from insight.structures.rle import rle_to_bitmap

from .outlines import mask_outline
from .segmenter import Mask, Prompt

_CONTROLS = {"BrushLabels": "brushlabels", "PolygonLabels": "polygonlabels"}
_LONGEST = 1 << 20  # characters of a configuration


@dataclass(frozen=True)
class Control:
    """What draws regions in a project.

    Attributes:
        name: as `from_name`.
        image: name of the image, as `to_name`.
        kind: "brushlabels" or "polygonlabels".
        labels: names of its labels.
    """

    name: str
    image: str
    kind: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Project:
    """A labelling configuration.

    Attributes:
        field: key of the image in a task's data.
        control: what the results are for.
    """

    field: str
    control: Control


@dataclass(frozen=True)
class AskedObject:
    """An object that is asked for, and its label."""

    prompt: Prompt
    label: str | None


def read_config(text: str) -> Project:
    """Read a labelling configuration.

    Args:
        text: the XML. Results are for its BrushLabels, which can hold any mask, else for its PolygonLabels.

    Raises:
        InputError: it is not XML, or has no image with one of these.
    """
    if len(text) > _LONGEST or re.search(r"<!(DOCTYPE|ENTITY)", text, re.IGNORECASE):
        raise InputError("label_config: expected a labelling configuration without document types or entities")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise InputError(f"label_config: not XML ({error})") from None
    images = {tag.get("name"): (tag.get("value") or "").removeprefix("$") for tag in root.iter("Image")}
    for tag_name, kind in _CONTROLS.items():
        for tag in root.iter(tag_name):
            image = tag.get("toName", "")
            if images.get(image):
                labels = tuple(label.get("value", "") for label in tag.iter("Label"))
                return Project(images[image], Control(tag.get("name", ""), image, kind, labels))
    raise InputError("label_config: expected an Image with BrushLabels or PolygonLabels, for the masks")


def to_objects(regions: list[dict[str, Any]], size: tuple[int, int]) -> list[AskedObject]:
    """Turn regions into the prompts of objects.

    Args:
        regions: rectangles, rotated or not, and key points. With one rectangle, the points refine its object; with
            several, those in it; without, they are one object.
        size: (height, width) of the image in pixels.

    Raises:
        InputError: a region is malformed.
    """
    points: list[tuple[tuple[float, float], int]] = []
    boxes: list[tuple[np.ndarray, bool, str | None]] = []
    label = None
    try:
        for region in regions:
            kind, value = region.get("type", ""), region.get("value", {})
            label = next(iter(value.get(kind, [])), label)
            if kind.startswith("keypoint"):
                place = (value["x"] * size[1] / 100, value["y"] * size[0] / 100)
                points.append((_inside(place, size), int(region.get("is_positive", 1))))
            elif kind.startswith("rectangle"):
                corners = rectangle_corners(value, size)
                boxes.append((corners, bool(value.get("rotation", 0) % 360), label))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"result: not a region of Label Studio ({error!r:.200})") from None
    if not boxes:
        xy, labels = [point for point, _ in points], [positive for _, positive in points]
        return [AskedObject(Prompt(points=xy, labels=labels), label)] if points else []
    found = []
    for corners, is_rotated, own in boxes:
        mine = [(p, positive) for p, positive in points if len(boxes) == 1 or _contains(corners, p)]
        xy, labels = [point for point, _ in mine], [positive for _, positive in mine]
        if is_rotated:
            prompt = Prompt(oriented_box=corners.tolist(), points=xy, labels=labels)
        else:
            prompt = Prompt(box=[*corners.min(0).tolist(), *corners.max(0).tolist()], points=xy, labels=labels)
        found.append(AskedObject(prompt, own))
    return found


def rectangle_corners(value: dict[str, Any], size: tuple[int, int]) -> np.ndarray:
    """Return the corners of a rectangle.

    Args:
        value: x, y, width, height in percent of the image, and rotation in degrees, clockwise around the upper left
            corner.
        size: (height, width) of the image in pixels.

    Returns:
        (4, 2) XY in pixels, clockwise on the screen from the corner about which it is rotated.
    """
    height, width = size
    angle = math.radians(value.get("rotation", 0))
    start = np.array([value["x"] * width / 100, value["y"] * height / 100])
    along = value["width"] * width / 100 * np.array([math.cos(angle), math.sin(angle)])
    down = value["height"] * height / 100 * np.array([-math.sin(angle), math.cos(angle)])
    return np.array([start, start + along, start + along + down, start + down])


def to_regions(mask: Mask, project: Project, label: str | None) -> list[dict[str, Any]]:
    """Turn a mask into results: a brush, or a polygon for each of its parts.

    Args:
        mask: the mask.
        project: the labelling configuration.
        label: of the object; one that the configuration does not have is replaced by its first.
    """
    control = project.control
    height, width = mask.code["size"]
    named = label if label in control.labels else next(iter(control.labels), label or "object")
    about = {
        "from_name": control.name,
        "to_name": control.image,
        "type": control.kind,
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "score": round(mask.score, 4),
        "readonly": False,
    }
    values: list[dict[str, Any]]
    if control.kind == "brushlabels":
        values = [{"format": "rle", "rle": encode_brush(rle_to_bitmap(mask.code))}]
    else:
        rings = [np.array(ring) for ring in mask_outline(mask.code, 0.7)]
        values = [
            {"points": (ring * 100 / (width, height)).tolist(), "closed": True} for ring in rings if _is_part(ring)
        ]
    return [{"id": uuid.uuid4().hex[:10], **about, "value": {**value, control.kind: [named]}} for value in values]


def _inside(place: tuple[float, float], size: tuple[int, int]) -> tuple[float, float]:
    """Percent that were rounded may leave the image by a hair."""
    x, y = place
    return min(max(x, 0.0), float(size[1])), min(max(y, 0.0), float(size[0]))


def _contains(corners: np.ndarray, point: tuple[float, float]) -> bool:
    sides, to_point = np.roll(corners, -1, 0) - corners, np.array(point) - corners
    return bool((sides[:, 0] * to_point[:, 1] - sides[:, 1] * to_point[:, 0] >= 0).all())


def _is_part(ring: np.ndarray) -> bool:
    x, y = ring.T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) > 0
