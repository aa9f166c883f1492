"""Boxes and points in every form: NumPy's, torch's, Detectron2's, supervision's, ultralytics' and mmrotate's."""

import math
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from detectron2.structures import Boxes, Instances, RotatedBoxes

from insight.errors import InputError
from insight.structures.boxes import validate_boxes
from insight.structures.oriented_boxes import oriented_corners
from insight.structures.points import validate_points
from insight.structures.prompt_inputs import is_oriented, to_numbers
from insight.structures.prompts import parse_prompts

BOXES = np.array([[20.0, 30, 36, 40], [70, 50, 80.5, 66]])
ROTATED = np.array([[40.0, 30, 24, 10, 30], [70, 60, 30, 12, -75]])  # degrees, counter-clockwise
SIZE = (90, 120)


def opencv_corners(boxes=ROTATED):
    """By OpenCV, whose angle is clockwise as displayed."""
    return np.array([cv2.boxPoints(((x, y), (w, h), -angle)) for x, y, w, h, angle in boxes])


def radians(boxes=ROTATED):
    """As ultralytics and mmrotate have them: radians, clockwise."""
    return np.concatenate([boxes[:, :4], -np.deg2rad(boxes[:, 4:])], 1)


def as_sets(corners):
    return [{tuple(corner) for corner in np.asarray(box).reshape(4, 2).round(3).tolist()} for box in corners]


FORMS = {
    "list": BOXES.tolist(),
    "tuple of arrays": tuple(BOXES),
    "list of tensors": list(torch.tensor(BOXES, dtype=torch.float32, requires_grad=True)),
    "reversed": BOXES[::-1][::-1],
    "negative strides": BOXES[::-1].copy()[::-1],
    "objects": BOXES.astype(object),
    "big-endian": BOXES.astype(">f4"),
    "half": BOXES.astype(np.float16),
    "tensor": torch.tensor(BOXES),
    "bfloat16": torch.tensor(BOXES).bfloat16(),
    "Fortran order": np.asfortranarray(BOXES),
    "Detectron2": Boxes(torch.tensor(BOXES)),
    "Detectron2 instances": Instances(SIZE, pred_boxes=Boxes(torch.tensor(BOXES))),
    "supervision": SimpleNamespace(xyxy=BOXES, data={}),
    "ultralytics boxes": SimpleNamespace(xyxy=torch.tensor(BOXES), cls=None),
    "ultralytics results": SimpleNamespace(boxes=SimpleNamespace(xyxy=torch.tensor(BOXES)), obb=None),
}


@pytest.mark.parametrize("form", FORMS)
def test_boxes_in_any_form(form):
    boxes = validate_boxes(FORMS[form], SIZE)
    assert boxes.dtype == torch.float32 and boxes.tolist() == BOXES.tolist()
    assert not boxes.requires_grad and not is_oriented(FORMS[form])


@pytest.mark.parametrize("one", [BOXES[0], BOXES[0].tolist(), torch.tensor(BOXES[0]), BOXES[0].astype(int)])
def test_one_box(one):
    assert validate_boxes(one, SIZE).tolist() == [BOXES[0].tolist()]


@pytest.mark.parametrize(
    "boxes",
    [
        ROTATED,
        opencv_corners(),
        opencv_corners().reshape(-1, 8),
        RotatedBoxes(torch.tensor(ROTATED)),
        Instances(SIZE, pred_boxes=RotatedBoxes(torch.tensor(ROTATED))),
        SimpleNamespace(xyxy=None, data={"xyxyxyxy": opencv_corners()}),
        SimpleNamespace(xyxyxyxy=torch.tensor(opencv_corners()), xywhr=None, xyxy=None, cls=None),
        SimpleNamespace(xywhr=torch.tensor(radians())),
        SimpleNamespace(boxes=None, obb=SimpleNamespace(xywhr=radians())),
        SimpleNamespace(tensor=torch.tensor(radians()), rbox2corner=None),
    ],
    ids=["degrees", "corners", "flat corners", "RotatedBoxes", "instances", "supervision", "OBB", "OBB in radians",
         "ultralytics results", "mmrotate"],
)  # fmt: skip
def test_oriented_boxes_in_any_form(boxes):
    assert as_sets(oriented_corners(boxes)) == as_sets(opencv_corners())
    assert is_oriented(boxes)


def test_angles_agree_with_detectron2():
    """Its RotatedBoxes know which points are inside, by an implementation of their own."""
    corners = oriented_corners(RotatedBoxes(torch.tensor(ROTATED, dtype=torch.float32)))
    rows = torch.tensor(ROTATED, dtype=torch.float32)
    centre, angle = rows[:, :2], rows[:, 4] * math.pi / 180
    # Detectron2: counter-clockwise for y pointing down, so the width points to (cos, -sin).
    along = torch.stack([angle.cos(), -angle.sin()], 1)
    extents = ((corners - centre[:, None]) * along[:, None]).sum(2).abs()
    torch.testing.assert_close(extents, rows[:, 2:3].expand(-1, 4) / 2, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("one", [ROTATED[0], opencv_corners()[0], opencv_corners()[0].reshape(8).tolist()])
def test_one_oriented_box(one):
    assert as_sets(oriented_corners(one)) == as_sets(opencv_corners())[:1]


def test_points_of_one_object():
    points, labels = validate_points([[3, 4], [5, 6]], [1, 0], SIZE)
    assert points.tolist() == [[[3, 4], [5, 6]]] and labels.tolist() == [[1, 0]]
    with pytest.raises(InputError, match=r"labels: expected shape \(1, 2\), one per point, got \(1, 1\)"):
        validate_points([[3, 4], [5, 6]], [1], SIZE)


@pytest.mark.parametrize(
    "values, said",
    [
        ("text", "x: expected numbers, got 'text'"),
        ([[1, 2], [3]], r"x: expected numbers, got \[\[1, 2\], \[3\]\]"),
        ([1, "a"], "x: expected numbers"),
        (None, "x: expected numbers, got None"),
        ([10**400], "x: expected numbers"),
        ([10**5000], "x: expected numbers, got list"),
        (np.zeros(2, complex), r"x: expected numbers, got ndarray of shape \(2,\), complex128"),
        (torch.zeros(2, dtype=torch.complex64), r"x: expected numbers, got Tensor of shape \(2,\)"),
        (np.array(["a"]), r"x: expected numbers, got ndarray of shape \(1,\)"),
        ({"a": 1}, "x: expected numbers"),
        (object(), "x: expected numbers"),
    ],
)
def test_what_holds_no_numbers_is_one_short_line(values, said):
    with pytest.raises(InputError, match=f"^{said}") as caught:
        to_numbers(values, "x", "numbers")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 150


def test_numbers_are_exact():
    values = [0.1, 1 / 3, 16777217, 1e-30]
    assert to_numbers(values, "x", "numbers").equal(torch.tensor(values, dtype=torch.float32))
    assert to_numbers(values, "x", "numbers", torch.float64).tolist() == values
    assert to_numbers([], "x", "numbers").shape == (0,)


@pytest.mark.parametrize("boxes", [ROTATED, RotatedBoxes(torch.tensor(ROTATED)), opencv_corners()])
def test_oriented_boxes_passed_as_boxes_are_sent_to_their_argument(boxes):
    with pytest.raises(InputError, match=r"^boxes: expected shape \(N, 4\) .*; pass oriented boxes as oriented_boxes"):
        validate_boxes(boxes, SIZE)


def test_oriented_rows_follow_the_boxes():
    parsed = parse_prompts(SIZE, boxes=BOXES, oriented_boxes=ROTATED)
    assert parsed.count == 4 and parsed.boxes.shape == (4, 4)
    assert parsed.oriented_boxes[:2].isnan().all()
    assert as_sets(parsed.oriented_boxes[2:]) == as_sets(opencv_corners())
    assert parse_prompts(SIZE, boxes=BOXES).oriented_boxes is None
    assert parse_prompts(SIZE, points=[[[1, 2]]], labels=[[1]]).boxes is None
    assert parse_prompts(SIZE).groups == [] and parse_prompts(SIZE).boxes is None
