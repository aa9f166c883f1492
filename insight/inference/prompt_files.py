"""Box prompts from text and from JSON files."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from insight.data.formats.file_check import read_json
from insight.errors import InputError
from insight.structures.boxes import refuse_normalized, validate_boxes
from insight.structures.oriented_boxes import oriented_corners
from insight.structures.prompt_inputs import shortened

from .prompt_text import FORMS, HORIZONTAL, ORIENTED, box_numbers


class BoxPrompts(NamedTuple):
    """Box prompts of an image.

    Attributes:
        boxes: (N, 4) float32 XYXY, pixels.
        corners: (M, 4, 2) float32 corners of oriented boxes, pixels. They follow `boxes` in results.
    """

    boxes: Tensor
    corners: Tensor

    def to_json(self) -> list:
        """Convert to lists of numbers."""
        return [self.boxes.tolist(), self.corners.tolist()]


def parse_boxes(boxes: Sequence[str], oriented_boxes: Sequence[str] = ()) -> BoxPrompts:
    """Parse boxes from text.

    Args:
        boxes: "x1,y1,x2,y2" each, pixels.
        oriented_boxes: "cx,cy,w,h,angle" each (degrees, counter-clockwise), or eight coordinates of corners each.

    Returns:
        The boxes.

    Raises:
        InputError: the wrong number of coordinates, a box that is inverted or has no area, or normalised coordinates.
    """
    horizontal = validate_boxes([box_numbers(text, "boxes", HORIZONTAL) for text in boxes], None)
    oriented = oriented_corners([box_numbers(text, "oriented_boxes", ORIENTED) for text in oriented_boxes])
    refuse_normalized(horizontal, "boxes")
    refuse_normalized(oriented, "oriented_boxes")
    return BoxPrompts(horizontal, oriented)


def read_boxes(path: str | os.PathLike) -> BoxPrompts | dict[str, BoxPrompts]:
    """Read boxes from a JSON file.

    Args:
        path: a list of boxes for every image, or {"image file name": list of boxes, ...}. All boxes of a list have the
            same form: 4 numbers (x1, y1, x2, y2), or oriented, 5 (centre, size, angle) or 8 numbers (corners).

    Returns:
        The boxes for every image, or by file name.

    Raises:
        OSError: the file cannot be read.
        InputError: the file is not JSON, is malformed, or contains an invalid box.
    """
    path = Path(path)
    content = read_json(path)
    if isinstance(content, list):
        return _from_rows(content, f"{path}: boxes")
    if isinstance(content, dict) and {"images", "annotations"} <= content.keys():
        raise InputError(
            f"{path}: is a COCO file, expected {{'image file name': [[x1, y1, x2, y2], ...], ...}}; `insight annotate` "
            "reads COCO files"
        )
    if isinstance(content, dict):
        return {name: _from_rows(rows, f"{path}: {name}") for name, rows in content.items()}
    raise InputError(
        f"{path}: expected a list of boxes [[x1, y1, x2, y2], ...], or such a list for each image's file name, "
        f"got {type(content).__name__}"
    )


def _from_rows(rows, name: str) -> BoxPrompts:
    lengths = {len(row) if isinstance(row, list) else 0 for row in rows} if isinstance(rows, list) else {0}
    if not lengths <= {4} and lengths not in ({5}, {8}):
        forms = ", or ".join(f"{count} ({meaning})" for count, meaning in FORMS.items())
        raise InputError(f"{name}: expected a list of boxes, all of {forms} numbers, got {shortened(rows)}")
    found = validate_boxes(rows, None, name) if lengths <= {4} else oriented_corners(rows, name)
    refuse_normalized(found, name)
    return BoxPrompts(found, torch.zeros(0, 4, 2)) if lengths <= {4} else BoxPrompts(torch.zeros(0, 4), found)
