"""Measures of masks drawn by hand."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from insight.annotation.measures import measure_mask


def encode(rows):
    """A mask drawn with # and . as COCO RLE."""
    return coco_mask.encode(np.asfortranarray([[character == "#" for character in row] for row in rows], np.uint8))


def box(x1, y1, x2, y2):
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]], np.float32)


PARTS = [
    "........",
    ".###....",
    ".###..#.",
    ".###....",
    "......#.",
]


def test_of_a_mask_drawn_by_hand():
    assert measure_mask(encode(PARTS), box(1, 1, 4, 6)) == {
        "area": 11,
        "bbox": [1, 1, 6, 4],
        "in_box": round(9 / 11, 4),
        "area_ratio": round(11 / 12, 4),  # the row of the box below the image does not count
        "components": 3,
        "largest_part": round(9 / 11, 4),
    }


def test_parts_that_touch_at_a_corner_are_one():
    measured = measure_mask(encode(["#..", ".#.", "..."]), box(0, 0, 2, 2))
    assert (measured["components"], measured["largest_part"], measured["in_box"]) == (1, 1, 1)


def test_of_an_empty_mask():
    assert measure_mask(encode(["...", "..."]), box(0, 0, 2, 2)) == {"area": 0, "bbox": [0, 0, 0, 0]}


@pytest.mark.parametrize("corners", [box(5, 5, 9, 9), box(1.6, 1.6, 2.4, 2.4)])
def test_a_box_without_a_pixel_in_the_image(corners):
    measured = measure_mask(encode(["##..", "##..", "....", "...."]), corners)
    assert (measured["in_box"], measured["area_ratio"]) == (0, 4)
