"""Pixels of boxes and superellipses against shapely, and windows by hand."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import affinity
from shapely.geometry import Point, Polygon

from insight.structures.box_shapes import box_window, pixels_in_box, pixels_in_superellipse

rectangles = (
    st.tuples(st.floats(-3, 13), st.floats(-3, 13)),
    st.tuples(st.floats(0.5, 12), st.floats(0.5, 12)),
    st.floats(-180, 180),
)


def assert_holds(inside, shape):
    for y, x in np.ndindex(*inside.shape):
        point = Point(x + 0.5, y + 0.5)
        if shape.exterior.distance(point) > 1e-3 * max(1.0, shape.length):
            assert inside[y, x] == shape.contains(point)


@settings(max_examples=40, deadline=None)
@given(*rectangles)
def test_pixels_in_a_rotated_box_are_shapelys(centre, size, angle):
    corners = cv2.boxPoints((centre, size, angle))
    assert_holds(pixels_in_box(corners, (0, 0, 10, 9)), Polygon(corners.astype(float)))


@settings(max_examples=40, deadline=None)
@given(*rectangles)
def test_a_superellipse_of_exponent_2_is_shapelys_ellipse(centre, size, angle):
    corners = cv2.boxPoints((centre, size, angle))
    ellipse = affinity.scale(Point(0, 0).buffer(1, 256), size[0] / 2, size[1] / 2)
    ellipse = affinity.translate(affinity.rotate(ellipse, angle, origin=(0, 0)), *centre)
    assert_holds(pixels_in_superellipse(corners, 2, (0, 0, 10, 9)), ellipse)


def test_a_superellipse_grows_to_the_box():
    corners = cv2.boxPoints(((20, 15), (24, 11), 30))
    window = (0, 0, 40, 30)
    shapes = [pixels_in_superellipse(corners, p, window) for p in (2, 2.5, 4, 20, 1000)]
    assert all((small & ~large).sum() == 0 and small.sum() < large.sum() for small, large in zip(shapes, shapes[1:]))
    assert (shapes[-1] != pixels_in_box(corners, window)).sum() <= 1
    # The area of |x|^4 + |y|^4 <= 1 is 4 gamma(5/4)^2 / gamma(3/2).
    large = np.array([[10.0, 10], [410, 10], [410, 210], [10, 210]])
    assert pixels_in_superellipse(large, 4, (0, 0, 420, 220)).mean() * 420 * 220 == pytest.approx(
        3.7081 / 4 * 400 * 200, rel=1e-3
    )


@pytest.mark.parametrize("shape", [pixels_in_box, lambda c, w: pixels_in_superellipse(c, 3, w)])
def test_a_window_is_a_part_of_the_whole(shape):
    corners = cv2.boxPoints(((6, 5), (9, 4), 20))
    whole = shape(corners, (0, 0, 12, 10))
    np.testing.assert_array_equal(shape(corners, (3, 2, 9, 10)), whole[2:10, 3:9])


@pytest.mark.parametrize(
    "corners, window",
    [
        ([[1.2, 2], [5, 2], [5, 4.1], [1.2, 4.1]], (1, 2, 5, 5)),
        ([[-3, -3], [50, -3], [50, 50], [-3, 50]], (0, 0, 10, 8)),
        ([[-9, 2], [-4, 2], [-4, 4], [-9, 4]], (0, 2, 0, 4)),
        ([[20, 20], [30, 20], [30, 30], [20, 30]], (10, 8, 10, 8)),
    ],
)
def test_the_window_of_a_box(corners, window):
    assert box_window(np.array(corners, float), (8, 10)) == window
