"""Rings of masks, compared with shapely and with the masks that they came from."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from insight.serving.outlines import coco_segmentation, mask_outline, rings_to_mask
from insight.structures.rle import encode_crop, rle_to_bitmap


def _code(mask):
    return encode_crop(mask, (0, 0), mask.shape)


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_outlines_give_the_mask_back(seed, height, width):
    mask = np.random.default_rng(seed).random((height, width)) < 0.6
    rings = mask_outline(_code(mask))
    assert np.array_equal(rle_to_bitmap(rings_to_mask(rings, mask.shape)), mask)


def test_holes_follow_their_part_and_turn_the_other_way():
    mask = np.zeros((20, 40), bool)
    mask[2:12, 2:12] = mask[5:18, 20:36] = True
    mask[4:6, 4:6] = mask[8:10, 8:10] = mask[10:12, 25:30] = False
    rings = mask_outline(_code(mask))
    signed = [shapely.Polygon(ring).exterior.is_ccw for ring in rings]  # in axes whose y points down
    assert signed.count(True) == 2
    outer = -1
    for ring, is_part in zip(rings, signed):
        if is_part:
            outer += 1
            parent = shapely.Polygon(ring)
        else:
            assert parent.contains(shapely.Polygon(ring))
    assert outer == 1


def test_rings_are_filled_at_the_centres_of_pixels():
    ring = [[2.3, 1.2], [30.7, 9.1], [22.2, 30.4], [-5.0, 20.0]]
    found = rle_to_bitmap(rings_to_mask([ring], (28, 26)))
    x, y = np.meshgrid(np.arange(26) + 0.5, np.arange(28) + 0.5)
    assert np.array_equal(found, shapely.contains_xy(shapely.Polygon(ring), x, y))


def test_simplified_outlines_stay_close():
    y, x = np.mgrid[:200, :200] + 0.5
    mask = (x - 100) ** 2 + (y - 90) ** 2 < 80**2
    exact, short = mask_outline(_code(mask)), mask_outline(_code(mask), 0.8)
    assert len(short[0]) < len(exact[0]) / 3
    found = rle_to_bitmap(rings_to_mask(short, mask.shape))
    assert (found & mask).sum() / (found | mask).sum() > 0.98


def test_coco_gets_polygons_where_it_can():
    square, hole = [[1, 1], [9, 1], [9, 9], [1, 9]], [[3, 3], [3, 6], [6, 6], [6, 3]]
    assert coco_segmentation([square], (12, 12)) == [[1, 1, 9, 1, 9, 9, 1, 9]]
    code = coco_segmentation([square, hole], (12, 12))
    assert coco_mask.area(code) == 64 - 9


@pytest.mark.parametrize("rings", [[], [[[50, 50], [60, 50], [60, 60]]], [[[-9, -9], [-5, -9], [-5, -5]]]])
def test_nothing_in_the_image_is_an_empty_mask(rings):
    assert not rle_to_bitmap(rings_to_mask(rings, (12, 12))).any()
