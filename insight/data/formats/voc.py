"""Pascal VOC's XML files: one for each image, with boxes, also the rotated ones of roLabelImg and DIOR-R."""

import math
import re
from collections import Counter
from pathlib import Path, PureWindowsPath
from typing import Any
from xml.etree import ElementTree

import numpy as np

from insight.errors import InputError

from .file_check import first, repeated
from .objects import bounds

_SIDES = ("xmin", "ymin", "xmax", "ymax")
_CENTRED = ("cx", "cy", "w", "h", "angle")  # roLabelImg
_CORNERS = tuple(f"{axis}_{corner}" for corner in ("left_top", "right_top", "right_bottom", "left_bottom")
                 for axis in "xy")  # fmt: skip  # DIOR-R


def read_voc(folder: Path) -> dict[str, Any]:
    """Read a folder of Pascal VOC files.

    A `bndbox` counts pixels from 1 and includes its last ones, so it becomes the edges xmin - 1, ymin - 1, xmax, ymax.
    A `robndbox` is oriented: its centre, sides and angle (radians, clockwise), as roLabelImg writes it, or four
    corners, as in DIOR-R, in pixels from 0.

    Args:
        folder: .xml files, also in sub-folders. Images need not be there.

    Returns:
        A COCO dictionary, rotated boxes as "oriented_box". Categories are in alphabetical order, images are named
        without folders. "left_out" counts objects that have no box, or one without area.

    Raises:
        OSError: a file cannot be read.
        InputError: no file, a malformed one, or two of one image; the message names it.
    """
    images, found, left_out = [], [], Counter[str]()
    for image_id, path in enumerate(sorted(folder.rglob("*.xml")), 1):
        root = _parse(path)
        try:
            width, height = map(int, _numbers(root.find("size"), ("width", "height")))
            if min(width, height) < 1:
                raise ValueError(f"its size is {width} x {height}")
            name = PureWindowsPath(root.findtext("filename", "").strip()).name
            if not name:
                raise ValueError("it names no image")
            images.append({"id": image_id, "file_name": name, "height": height, "width": width})
            for one in root.findall("object"):
                fields, label = _fields(one), one.findtext("name", "").strip()
                if not label:
                    raise ValueError("an object has no name")
                if fields is None:
                    left_out["objects without a box"] += 1
                elif not all(fields["bbox"][2:]):
                    left_out["boxes without area"] += 1
                else:
                    found.append((label, {"image_id": image_id, "iscrowd": 0, **fields}))
        except ValueError as error:
            raise InputError(f"{path}: not in Pascal VOC's format ({error})") from error
    if not images:
        raise InputError(f"{folder}: expected Pascal VOC's .xml files, got none")
    twice = repeated(image["file_name"] for image in images)
    if twice:
        raise InputError(f"{folder}: expected one .xml file for each image, got more for {first(twice)}")
    ids = {name: i for i, name in enumerate(sorted({name for name, _ in found}), 1)}
    annotations = [{"id": i, "category_id": ids[name], **fields} for i, (name, fields) in enumerate(found, 1)]
    categories = [{"id": i, "name": name} for name, i in ids.items()]
    return {"images": images, "annotations": annotations, "categories": categories, "left_out": dict(left_out)}


def _parse(path: Path) -> ElementTree.Element:
    content = path.read_bytes()
    if re.search(rb"<!(DOCTYPE|ENTITY)", content, re.IGNORECASE):
        raise InputError(f"{path}: expected XML without document types or entities")
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, LookupError, ValueError) as error:  # LookupError: an unknown encoding
        raise InputError(f"{path}: not XML ({error})") from error
    if root.tag != "annotation":
        raise InputError(f"{path}: not in Pascal VOC's format (its root is <{root.tag}>, expected <annotation>)")
    return root


def _fields(one: ElementTree.Element) -> dict[str, Any] | None:
    """The box of an object; None if it has none."""
    rotated = one.find("robndbox")
    if rotated is not None:
        if rotated.find(_CENTRED[0]) is None:
            corners = np.array(_numbers(rotated, _CORNERS)).reshape(4, 2)
        else:
            x, y, width, height, angle = _numbers(rotated, _CENTRED)
            along, across = (
                np.array([math.cos(turn), math.sin(turn)]) * side / 2
                for turn, side in ((angle, width), (angle + math.pi / 2, height))
            )
            corners = np.array([x, y]) + np.array([-along - across, along - across, along + across, across - along])
        return {"bbox": bounds(corners), "oriented_box": corners.ravel().tolist()}
    upright = one.find("bndbox")
    if upright is None:
        return None
    x1, y1, x2, y2 = _numbers(upright, _SIDES)
    return {"bbox": [x1 - 1, y1 - 1, max(x2 - x1 + 1, 0.0), max(y2 - y1 + 1, 0.0)]}


def _numbers(parent: ElementTree.Element | None, names: tuple[str, ...]) -> list[float]:
    texts = {name: None if parent is None else parent.findtext(name) for name in names}
    for name, text in texts.items():
        try:
            if math.isfinite(float(text or "")):
                continue
        except ValueError:
            pass
        raise ValueError(f"expected a number as {name}, got {text!r:.40}")
    return [float(text or "") for text in texts.values()]
