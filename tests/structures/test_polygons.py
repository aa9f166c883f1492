"""Polygons along pixel edges, against COCO's own rasteriser."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco_mask

from insight.structures.polygons import mask_rings, mask_to_polygons


def rasterise(polygons, size):
    if not polygons:
        return np.zeros(size, bool)
    codes = coco_mask.frPyObjects([p.ravel().tolist() for p in polygons], *size)
    return coco_mask.decode(coco_mask.merge(codes)).astype(bool)


@settings(max_examples=150, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14))), st.integers(0, 5), st.integers(0, 5))
def test_rasterising_gives_the_mask_again(mask, x, y):
    full = np.zeros((24, 23), bool)
    full[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    assert np.array_equal(rasterise(mask_to_polygons(mask, (x, y)), full.shape), full)


@pytest.mark.parametrize("density", [0.2, 0.5, 0.8])
def test_random_masks_with_many_holes(density):
    mask = np.random.default_rng(0).random((60, 70)) < density
    assert np.array_equal(rasterise(mask_to_polygons(mask), mask.shape), mask)


def test_a_mask_may_have_more_holes_than_python_has_stack_frames():
    mask = np.ones((3, 2500), bool)
    mask[1, 1:-1:2] = False
    assert np.array_equal(rasterise(mask_to_polygons(mask), mask.shape), mask)


def test_a_square_has_four_corners_clockwise():
    (outline,) = mask_to_polygons(np.ones((3, 2), bool), (10, 20))
    assert sorted(map(tuple, outline.tolist())) == [(10, 20), (10, 23), (12, 20), (12, 23)]
    x, y = outline.T
    assert (np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2 == 6  # y points down: positive is clockwise


def test_parts_that_touch_at_a_corner_are_two():
    assert len(mask_to_polygons(np.eye(2, dtype=bool))) == 2


def test_nothing_gives_no_polygon():
    assert mask_to_polygons(np.zeros((4, 4), bool)) == []


@settings(max_examples=80, deadline=None)
@given(arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14))), st.integers(0, 5), st.integers(0, 5))
def test_rings_without_those_of_holes_are_the_mask(mask, x, y):
    full = np.zeros((24, 23), bool)
    full[y : y + mask.shape[0], x : x + mask.shape[1]] = mask
    outlines, holes = mask_rings(mask, (x, y))
    drawn = np.zeros(full.shape, int)
    for rings, sign in ((outlines, 1), (holes, -1)):
        for ring in rings:
            drawn += sign * rasterise([ring], full.shape)
    assert np.array_equal(drawn, full)
