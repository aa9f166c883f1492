"""Prompts of oriented boxes, worked by hand, and what is said of normalised ones."""

import pytest
import torch

from insight.structures.oriented_boxes import box_corners, oriented_corners
from insight.structures.prompts import Prompts, oriented_prompts, parse_prompts

REGIONS = torch.tensor([[100.0, 200.0, 164.0, 264.0]])  # 64 pixels, four times enlarged in a crop of 256


def test_boxes_are_enlarged_with_their_crop():
    prompts = Prompts(torch.tensor([[116.0, 222.0, 148.0, 242.0]])).to_crops(REGIONS, 256)
    assert prompts.boxes.tolist() == [[64, 88, 192, 168]]
    assert prompts.points is None and prompts.labels is None


def test_oriented_boxes_give_a_box_and_three_points():
    diamond = torch.tensor([[[116.0, 232.0], [124.0, 224.0], [148.0, 248.0], [140.0, 256.0]]])
    prompts = oriented_prompts(diamond).to_crops(REGIONS, 256)
    assert prompts.boxes.tolist() == [[64, 96, 192, 224]]
    # Midpoints of the short sides (120, 228) and (144, 252), centre (132, 240); P halfway: (126, 234), (138, 246).
    assert prompts.points.tolist() == [[[104, 136], [128, 160], [152, 184]]]
    assert prompts.labels.tolist() == [[1, 1, 1]]


def test_horizontal_boxes_can_be_prompted_like_oriented_ones():
    boxes = torch.tensor([[116.0, 222.0, 148.0, 242.0]])
    prompts = oriented_prompts(box_corners(boxes)).to_crops(REGIONS, 256)
    assert torch.equal(prompts.boxes, Prompts(boxes).to_crops(REGIONS, 256).boxes)
    assert prompts.points.tolist() == [[[96, 128], [128, 128], [160, 128]]]


def test_no_boxes():
    prompts = oriented_prompts(torch.zeros(0, 4, 2)).to_crops(torch.zeros(0, 4), 256)
    assert prompts.boxes.shape == (0, 4) and prompts.points.shape == (0, 3, 2) and prompts.labels.shape == (0, 3)


def test_moved_prompts_are_in_pixels_of_the_window():
    corners = oriented_corners([[60.0, 40.0, 20.0, 8.0, 30.0]])
    prompts = oriented_prompts(corners)
    window = prompts.moved((-50, -20))
    expected = oriented_prompts(corners - torch.tensor([50.0, 20.0]))
    for part, wanted in zip(window, expected):
        assert (part is None and wanted is None) or torch.allclose(part, wanted, atol=1e-4)
    assert Prompts(boxes=torch.tensor([[1.0, 2, 3, 4]])).moved((5, 6)).boxes.tolist() == [[6, 8, 8, 10]]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"boxes": [[0.1, 0.2, 0.5, 0.6], [0.3, 0.3, 0.9, 1.0]]}, "boxes"),
        ({"boxes": [0, 0, 1, 1]}, "boxes"),  # or the first pixel, which is answered
        ({"oriented_boxes": [[0.5, 0.5, 0.2, 0.1, 30]]}, "oriented_boxes"),
        ({"points": [[0.5, 0.5]], "labels": [1]}, "points"),
        ({"boxes": [[0.1, 0.2, 0.5, 0.6]], "points": [[[0.3, 0.4]]], "labels": [[1]]}, "boxes and points"),
        ({"boxes": [[0.1, 0.2, 0.5, 0.6], [3, 4, 9, 9]]}, None),
        ({"boxes": [[-0.1, 0.2, 0.5, 0.6]]}, None),
        ({"boxes": [[0.1, 0.2, 0.5, 0.6]], "oriented_boxes": [[30, 20, 10, 5, 30]]}, None),
        ({"boxes": torch.zeros(0, 4)}, None),
        ({}, None),
    ],
)
def test_prompts_that_look_normalized_are_warned_of(caplog, given, named):
    parse_prompts((40, 60), **given)
    expected = [] if named is None else [f"{named}: expected pixels, got coordinates from 0 to 1 alone; if they are "]
    assert len(caplog.messages) == len(expected)
    assert all(message.startswith(start) for message, start in zip(caplog.messages, expected))
