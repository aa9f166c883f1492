"""Conversion of boxes and points from any supported form.

This is the only module that knows how other libraries store their boxes. It recognises them by their attributes, so
none of these libraries has to be installed.
"""

import math
import reprlib
from typing import Any

import numpy as np
import torch
from torch import Tensor

from insight.errors import InputError


def to_numbers(values: Any, name: str, expected: str, dtype: torch.dtype = torch.float32) -> Tensor:
    """Convert anything that NumPy or torch can turn into numbers to a tensor.

    Args:
        values: a tensor on any device, an array of any layout, byte order or numeric dtype (including object), nested
            sequences of numbers, or a sequence of tensors or arrays of one shape.
        name: the argument's name, for the error message.
        expected: what was expected, for the error message.
        dtype: dtype of the result.

    Returns:
        A tensor of the same shape on the CPU.

    Raises:
        InputError: `values` does not convert to real numbers.
    """
    try:
        if isinstance(values, Tensor):
            if values.is_complex():
                raise TypeError("complex numbers")
            return values.detach().to("cpu", dtype)
        if isinstance(values, list | tuple):
            values = [one.detach().cpu().float().numpy() if isinstance(one, Tensor) else one for one in values]
        array = np.asarray(values)
        if values is None:  # NumPy would make NaN of it
            raise TypeError("None")
        if array.dtype.kind not in "biufO":
            raise TypeError(f"dtype {array.dtype}")
        return torch.from_numpy(np.ascontiguousarray(array, np.float64).reshape(array.shape)).to(dtype)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        raise InputError(f"{name}: expected {expected}, got {shortened(values)}") from error


def box_values(boxes: Any) -> Any:
    """Return the XYXY coordinates of another library's boxes.

    Args:
        boxes: Detectron2's `Boxes` or `Instances`, a `Detections` of supervision, a `Results`, `Boxes` or `OBB` of
            ultralytics, or plain numbers.

    Returns:
        Coordinates (N, 4); plain numbers are returned unchanged. Oriented boxes give their enclosing horizontal boxes,
        except Detectron2's `RotatedBoxes`, which give their five numbers.
    """
    boxes = _contained(boxes, "boxes", "pred_boxes", "obb")
    for attribute in ("xyxy", "tensor"):
        if not isinstance(boxes, Tensor | np.ndarray) and hasattr(boxes, attribute):
            return getattr(boxes, attribute)
    return boxes


def oriented_box_values(boxes: Any) -> Any:
    """Return the coordinates of another library's oriented boxes, in a form that `oriented_corners` accepts.

    Args:
        boxes: Detectron2's `RotatedBoxes` or `Instances` (degrees, counter-clockwise), a `Detections` of supervision
            (`data["xyxyxyxy"]`), a `Results` or `OBB` of ultralytics (`xyxyxyxy`, or `xywhr` in radians, clockwise),
            `RotatedBoxes` of mmrotate (radians, clockwise), or plain numbers.

    Returns:
        (N, 4, 2) corners or (N, 5) boxes in degrees, counter-clockwise; plain numbers are returned unchanged.
    """
    boxes = _contained(boxes, "obb", "pred_boxes")
    if isinstance(boxes, Tensor | np.ndarray):
        return boxes
    if (corners := _oriented_data(boxes)) is not None:
        return corners
    if hasattr(boxes, "xyxyxyxy"):
        return boxes.xyxyxyxy
    if hasattr(boxes, "xywhr"):
        return clockwise_radians_to_degrees(boxes.xywhr)
    if hasattr(boxes, "tensor"):
        return clockwise_radians_to_degrees(boxes.tensor) if hasattr(boxes, "rbox2corner") else boxes.tensor
    return boxes


def is_oriented(boxes: Any) -> bool:
    """Return whether boxes are oriented, judging by their type or the shape of their numbers.

    Args:
        boxes: anything that `box_values` or `oriented_box_values` accepts.

    Returns:
        True if `oriented_box_values` should read them, False if `box_values` should.
    """
    boxes = _contained(boxes, "obb", "pred_boxes")
    if not isinstance(boxes, Tensor | np.ndarray):
        if _oriented_data(boxes) is not None or hasattr(boxes, "xyxyxyxy") or hasattr(boxes, "xywhr"):
            return True
        if hasattr(boxes, "xyxy") or getattr(boxes, "boxes", None) is not None:
            return False
        boxes = getattr(boxes, "tensor", boxes)
    shape = tuple(to_numbers(boxes, "boxes", "numbers").shape)
    return shape[-1:] in ((5,), (8,)) or shape[-2:] == (4, 2)


def clockwise_radians_to_degrees(boxes: Any) -> Tensor:
    """Convert the angle convention of ultralytics and mmrotate to Detectron2's.

    Args:
        boxes: (N, 5) centre x, centre y, width, height, angle in radians, clockwise as displayed.

    Returns:
        (N, 5) with the angle in degrees, counter-clockwise as displayed.
    """
    boxes = to_numbers(boxes, "oriented_boxes", "(N, 5) centre x, centre y, width, height, angle in radians")
    return torch.cat([boxes[..., :4], boxes[..., 4:] * (-180 / math.pi)], -1)


def shortened(values: Any) -> str:
    """Describe a value in one short line, for an error message."""
    if isinstance(values, Tensor | np.ndarray):
        return f"{type(values).__name__} of shape {tuple(values.shape)}, {values.dtype}"
    try:
        return " ".join(reprlib.repr(values).split())[:80]
    except ValueError:  # an integer of thousands of digits
        return type(values).__name__


def _contained(boxes: Any, *attributes: str) -> Any:
    """The boxes inside a detector's results: the first of the attributes that is there and not None."""
    for attribute in attributes:
        if not isinstance(boxes, Tensor | np.ndarray) and getattr(boxes, attribute, None) is not None:
            return getattr(boxes, attribute)
    return boxes


def _oriented_data(boxes: Any) -> Any:
    """supervision keeps oriented boxes in a dictionary beside the horizontal ones."""
    data = getattr(boxes, "data", None)
    return data.get("xyxyxyxy") if isinstance(data, dict) else None
