"""Box prompts from the command line and from JSON files."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from insight.structures.boxes import validate_boxes


def parse_boxes(texts: Sequence[str]) -> Tensor:
    """Boxes as written on a command line.

    Args:
        texts: "x1,y1,x2,y2" each, pixels.

    Returns:
        (N, 4) float32 XYXY.

    Raises:
        ValueError: a text is not four numbers, or the box is inverted or without area.
    """
    boxes = []
    for text in texts:
        try:
            box = [float(number) for number in text.split(",")]
        except ValueError:
            box = []
        if len(box) != 4:
            raise ValueError(f"--boxes {text}: expected four numbers, x1,y1,x2,y2 in pixels")
        boxes.append(box)
    return validate_boxes(boxes, None, name="--boxes")


def read_boxes(path: str | os.PathLike) -> Tensor | dict[str, Tensor]:
    """Boxes in a JSON file.

    Args:
        path: holds [[x1, y1, x2, y2], ...] for every image, or {"image file name": [[x1, y1, x2, y2], ...], ...}.

    Returns:
        (N, 4) float32 XYXY in pixels, or one such for each file name.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no JSON, has another form, or a box in it is not one.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not JSON ({error})") from error
    if isinstance(content, list):
        return validate_boxes(content, None, name=f"{path}: boxes")
    if isinstance(content, dict):
        return {name: validate_boxes(boxes, None, name=f"{path}: {name}") for name, boxes in content.items()}
    raise ValueError(
        f"{path}: expected a list of boxes [[x1, y1, x2, y2], ...], or such a list for each image's file name, "
        f"got {type(content).__name__}"
    )
