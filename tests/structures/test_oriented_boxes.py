"""Oriented boxes against OpenCV and shapely, and the prompt points under every way to write the same box."""

import cv2
import numpy as np
import pytest
import shapely
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from insight.structures.oriented_boxes import (
    box_corners,
    enclosing_boxes,
    jitter_oriented_boxes,
    minimum_area_rectangles,
    oriented_corners,
    oriented_prompt_points,
    rectangle_sides,
    rle_rectangle,
    turned_upright,
)

place, side, turn = st.floats(-200, 2000), st.floats(1, 300), st.floats(-400, 400)


def opencv_corners(cx, cy, w, h, angle):
    return cv2.boxPoints(((cx, cy), (w, h), -angle))  # OpenCV turns clockwise


def as_set(corners):
    return sorted(np.round(np.asarray(corners, dtype=np.float64), 1).tolist())


@settings(deadline=None)
@given(place, place, side, side, turn)
def test_angles_are_detectron2s(cx, cy, w, h, angle):
    found = oriented_corners([[cx, cy, w, h, angle]])[0].numpy()
    expected = opencv_corners(cx, cy, w, h, angle)
    distances = np.linalg.norm(found[:, None] - expected[None], axis=2)
    assert distances.min(1).max() < 0.02 and distances.min(0).max() < 0.02


def test_the_angle_is_counter_clockwise_as_displayed():
    """A wide box rotated by 30 degrees points up at its right end: y falls where x grows."""
    points = oriented_prompt_points(oriented_corners([[50, 50, 40, 10, 30]]))[0]
    assert points[2, 0] > points[0, 0] and points[2, 1] < points[0, 1]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 3, 0, 1), (3, 2, 1, 0), (0, 2, 1, 3), (1, 3, 0, 2)])
def test_corners_in_any_order_are_the_same_box(order):
    corners = torch.tensor([[0.0, 0.0], [8.0, 2.0], [7.0, 6.0], [-1.0, 4.0]])
    found = oriented_corners(corners[list(order)].reshape(1, 8))[0]
    assert as_set(found) == as_set(corners)
    x, y = found.double().unbind(1)
    assert (x * y.roll(-1) - y * x.roll(-1)).sum() > 0  # clockwise, with y down
    assert torch.equal(oriented_prompt_points(found[None]), oriented_prompt_points(oriented_corners(corners[None])))


@settings(deadline=None)
@given(place, place, side, side, turn)
def test_prompt_points_are_the_papers(cx, cy, w, h, angle):
    """Eq. 4 from the midpoints of the shorter sides, found by their length."""
    assume(abs(w - h) > 0.02 * max(w, h))
    box = opencv_corners(cx, cy, w, h, angle)
    sides = [(np.linalg.norm(box[i] - box[i - 1]), (box[i] + box[i - 1]) / 2) for i in range(4)]
    (_, first), (_, second) = sorted(sides, key=lambda side: side[0])[:2]
    centre = np.array([cx, cy])
    expected = [(centre + first) / 2, (centre + second) / 2]
    found = oriented_prompt_points(oriented_corners([[cx, cy, w, h, angle]]))[0].numpy()
    np.testing.assert_allclose(found[1], centre, atol=0.02)
    distances = np.linalg.norm(found[[0, 2]][:, None] - np.array(expected)[None], axis=2)
    assert min(distances[0, 0] + distances[1, 1], distances[0, 1] + distances[1, 0]) < 0.05
    assert found[0, 0] <= found[2, 0]


@settings(deadline=None)
@given(place, place, side, side, turn, st.integers(0, 3))
def test_prompt_points_do_not_depend_on_how_the_box_is_written(cx, cy, w, h, angle, first):
    corners = oriented_corners([[cx, cy, w, h, angle]])
    expected = oriented_prompt_points(corners)
    rolled = oriented_prompt_points(corners.roll(first, 1))
    assume((corners[0, 0] - corners[0, 1]).abs().min() > 0.05)  # an upright axis has no left end to tell
    torch.testing.assert_close(rolled, expected, rtol=0, atol=0.01)
    if abs(w - h) > 0.02 * max(w, h):
        rotated = oriented_prompt_points(oriented_corners([[cx, cy, h, w, angle + 90]]))
        torch.testing.assert_close(rotated, expected, rtol=0, atol=0.02)


@pytest.mark.parametrize("noise", [-0.05, 0.0, 0.05])
@pytest.mark.parametrize("angle, direction", [(0, (1, 0)), (90, (1, 0)), (20, (0.94, -0.34)), (70, (0.94, 0.34))])
def test_square_boxes_have_a_stable_axis(noise, angle, direction):
    """Of two equal axes the nearer to horizontal, whichever side noise makes the longer."""
    points = oriented_prompt_points(oriented_corners([[50, 50, 20 + noise, 20 - noise, angle]]))[0]
    axis = (points[2] - points[0]) / (points[2] - points[0]).norm()
    assert axis.tolist() == pytest.approx(direction, abs=0.01)


@pytest.mark.parametrize("angle", [45, 135, -45, 45.001, 44.999])
def test_diagonal_squares_take_the_falling_axis(angle):
    points = oriented_prompt_points(oriented_corners([[50, 50, 20, 20, angle]]))[0]
    assert (points[2] - points[0]).tolist() == pytest.approx([7.07, 7.07], abs=0.01)


def test_horizontal_boxes_are_oriented_boxes():
    points = oriented_prompt_points(box_corners(torch.tensor([[10.0, 20.0, 50.0, 30.0], [0.0, 0.0, 4.0, 40.0]])))
    assert points.tolist() == [[[20, 25], [30, 25], [40, 25]], [[2, 10], [2, 20], [2, 30]]]


@settings(deadline=None)
@given(place, place, side, side, turn)
def test_enclosing_box_is_that_of_opencvs_corners(cx, cy, w, h, angle):
    corners = opencv_corners(cx, cy, w, h, angle)
    expected = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
    np.testing.assert_allclose(enclosing_boxes([[cx, cy, w, h, angle]])[0], expected, atol=0.02)
    np.testing.assert_allclose(enclosing_boxes(corners.reshape(1, 8))[0], expected, atol=0.02)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31))
def test_minimum_area_rectangles_equal_shapelys(seed):
    rng = np.random.default_rng(seed)
    mask = np.zeros((40, 60), np.uint8)
    cv2.fillPoly(mask, [rng.integers(0, 40, (rng.integers(3, 7), 2)).astype(np.int32)], 1)
    found = shapely.Polygon(minimum_area_rectangles(torch.tensor(mask)[None].bool())[0].numpy())
    ys, xs = np.nonzero(mask)
    pixels = shapely.union_all([shapely.box(x, y, x + 1, y + 1) for x, y in zip(xs, ys)])
    assert found.buffer(1e-3).covers(pixels)
    assert found.area == pytest.approx(shapely.oriented_envelope(pixels).area, rel=1e-4)


def test_empty_masks_have_no_rectangle():
    assert minimum_area_rectangles(torch.zeros(0, 5, 5, dtype=torch.bool)).shape == (0, 4, 2)
    with pytest.raises(ValueError, match=r"masks\[1\] is empty"):
        minimum_area_rectangles(torch.tensor([[[True]], [[False]]]))


def test_no_boxes():
    assert oriented_corners([]).shape == (0, 4, 2)
    assert oriented_prompt_points(torch.zeros(0, 4, 2)).shape == (0, 3, 2)


@pytest.mark.parametrize(
    "boxes, message",
    [
        ([[1, 2, 3]], r"expected \(N, 4, 2\) or \(N, 8\) corners, or \(N, 5\).* got shape \(1, 3\)"),
        ([1, 2, 3, 4], r"got shape \(4,\)"),
        ("boxes", r"expected .* got 'boxes'"),
        ([[5, 5, 2, 2, 0], [5, 5, 2, float("nan"), 0]], r"oriented_boxes\[1\] .* has a coordinate that is not finite"),
        ([[5, 5, 2, 0, 0]], r"oriented_boxes\[0\] = \[5.0, 5.0, 2.0, 0.0, 0.0\] has no area"),
        ([[5, 5, -2, -2, 0]], "has no area"),
        ([[0, 0, 1, 1, 2, 2, 3, 3]], "has no area"),
    ],
)
def test_bad_boxes(boxes, message):
    with pytest.raises(ValueError, match=message) as error:
        oriented_corners(boxes)
    assert len(str(error.value).splitlines()) == 1


def test_the_rectangle_around_an_encoded_mask():
    mask = np.zeros((70, 90), np.uint8)
    cv2.fillPoly(mask, [np.array([[50, 20], [80, 35], [72, 50], [42, 36]])], 1)
    found = rle_rectangle(coco_mask.encode(np.asfortranarray(mask)))
    assert as_set(found) == as_set(minimum_area_rectangles(torch.from_numpy(mask.astype(bool))[None])[0])
    assert rectangle_sides(found) == pytest.approx(sorted(cv2.minAreaRect(found.numpy())[1]), abs=1e-3)


def test_jitter_moves_sides_along_the_boxs_own_axes():
    corners = oriented_corners([[40, 30, 24, 10, 30], [40, 30, 24, 10, 30]])
    noisy = jitter_oriented_boxes(corners, 0.3, torch.Generator().manual_seed(0))
    axes = torch.stack([corners[0, 1] - corners[0, 0], corners[0, 3] - corners[0, 0]])  # right, down
    moves = (noisy - corners) @ torch.linalg.inv(axes)  # as fractions of the box
    assert moves.abs().max() <= 0.3 and not torch.equal(noisy[0], noisy[1])
    for side, axis in (((0, 3), 0), ((1, 2), 0), ((0, 1), 1), ((2, 3), 1)):  # a side moves as a whole
        torch.testing.assert_close(moves[:, side[0], axis], moves[:, side[1], axis], atol=1e-5, rtol=0)
    assert torch.equal(jitter_oriented_boxes(corners, 0.0), corners)


@settings(deadline=None)
@given(place, place, side, side, turn)
def test_a_box_rotated_to_horizontal_rotates_back(cx, cy, w, h, angle):
    assume(abs(w - h) > 0.05 * max(w, h))  # a square's axis is a matter of choice
    corners = oriented_corners([[cx, cy, w, h, angle]]).double()
    upright, angles = turned_upright(corners)
    sine, cosine = angles[0]
    assert cosine >= 0 and float(sine**2 + cosine**2) == pytest.approx(1)
    half, centre = (upright[0, 2:] - upright[0, :2]) / 2, (upright[0, 2:] + upright[0, :2]) / 2
    assert half.tolist() == pytest.approx([max(w, h) / 2, min(w, h) / 2], abs=0.01)
    offsets = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]], dtype=torch.float64) * half
    rotated = centre + offsets @ torch.stack([torch.stack([cosine, sine]), torch.stack([-sine, cosine])])
    assert torch.cdist(rotated, corners[0]).min(1).values.max() < 0.01
