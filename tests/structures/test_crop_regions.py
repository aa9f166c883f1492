"""Crop regions against the paper's formula and figures, and the way from image to crop."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from insight.structures.crop_regions import (
    CropSchedule,
    boxes_to_crop,
    crop_regions,
    points_to_crop,
    random_positions,
)

side = st.floats(0.5, 1500, width=32)
place = st.floats(-100, 20000, width=32)


def square_boxes(*sides):
    return torch.tensor([[10.0, 20.0, 10.0 + s, 20.0 + s / 2] for s in sides])


def test_sizes_are_the_papers():
    """Eq. 1 worked by hand: S = 2 d up to 32, then 0.967742 d + 33.032258, up to 1024 at 1024."""
    sizes = CropSchedule().sizes(square_boxes(16, 32, 48, 100, 256, 512, 1024))
    assert sizes.tolist() == pytest.approx([32, 64, 79.48, 129.81, 280.77, 528.52, 1024], abs=0.01)


def test_an_object_larger_than_the_schedule_still_fits():
    """Eq. 1 by itself gives 1097.5 for an object of 1100."""
    assert CropSchedule().sizes(square_boxes(1100, 5000)).tolist() == [1100, 5000]


def test_magnification_is_bounded():
    assert CropSchedule().sizes(square_boxes(2, 8, 9)).tolist() == [16, 16, 18]
    assert CropSchedule(min_size=0).sizes(square_boxes(2)).tolist() == [4]


@settings(deadline=None)
@given(place, place, side, side, st.floats(0, 1), st.floats(0, 1))
def test_a_region_is_a_square_that_holds_its_box(x, y, w, h, ax, ay):
    boxes = torch.tensor([[x, y, x + w, y + h]], dtype=torch.float64)
    region = crop_regions(boxes, positions=torch.tensor([[ax, ay]], dtype=torch.float64))[0]
    assert region[2] - region[0] == pytest.approx(float(region[3] - region[1]))
    slack = 1e-6 * boxes.abs().max()
    assert (region[:2] <= boxes[0, :2] + slack).all() and (region[2:] >= boxes[0, 2:] - slack).all()


@settings(deadline=None)
@given(place, place, side, side)
def test_regions_centre_their_boxes(x, y, w, h):
    boxes = torch.tensor([[x, y, x + w, y + h]], dtype=torch.float64)
    regions = crop_regions(boxes)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    torch.testing.assert_close((regions[:, :2] + regions[:, 2:]) / 2, centre)


def test_positions_move_the_region():
    """Eq. 2: x_s = x - a_x (S - w)."""
    boxes = torch.tensor([[100.0, 200.0, 120.0, 210.0]])  # w = 20, h = 10, S = 40
    region = crop_regions(boxes, positions=torch.tensor([[0.3, 0.7]]))
    assert region[0].tolist() == pytest.approx([94.0, 179.0, 134.0, 219.0])


def test_random_positions_are_repeatable_and_in_range():
    first, again = (random_positions(1000, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, again)
    assert 0.3 <= first.min() < 0.31 and 0.69 < first.max() <= 0.7
    assert (first[:, 0] - first[:, 1]).abs().max() > 0.1  # x and y are drawn apart


@settings(deadline=None)
@given(st.lists(st.tuples(place, place, side), min_size=1, max_size=5), st.sampled_from([128, 256, 512]))
def test_points_in_crops_against_their_definition(regions, crop_size):
    regions = torch.tensor([[x, y, x + s, y + s] for x, y, s in regions], dtype=torch.float64)
    points = torch.rand(len(regions), 3, 2, dtype=torch.float64) * 1000
    found = points_to_crop(points, regions, crop_size)
    for (x1, y1, x2, y2), in_image, in_crop in zip(regions.tolist(), points, found):
        share = in_crop / crop_size  # of the region's sides, from its upper left corner
        torch.testing.assert_close(x1 + share[:, 0] * (x2 - x1), in_image[:, 0], rtol=0, atol=1e-6)
        torch.testing.assert_close(y1 + share[:, 1] * (y2 - y1), in_image[:, 1], rtol=0, atol=1e-6)


def test_the_region_fills_the_crop():
    regions = torch.tensor([[10.5, 20.25, 74.5, 84.25]])
    assert boxes_to_crop(regions, regions, 256).tolist() == [[0, 0, 256, 256]]
    centre = points_to_crop(torch.tensor([[42.5, 52.25]]), regions, 256)
    assert centre.tolist() == [[128, 128]]


def test_no_boxes():
    regions = crop_regions(torch.zeros(0, 4))
    assert regions.shape == (0, 4)
    assert points_to_crop(torch.zeros(0, 3, 2), regions, 256).shape == (0, 3, 2)


@pytest.mark.parametrize("values", [{"small": 0}, {"expansion": 0.5}, {"max_size": 64}])
def test_bad_schedule(values):
    with pytest.raises(ValueError, match="CropSchedule: expected small > 0"):
        CropSchedule(**values)


def test_schedule_grows_without_jumps():
    longest = np.linspace(0.5, 1200, 5000)
    sizes = CropSchedule().sizes(square_boxes(*longest.tolist())).numpy()
    steps = np.diff(sizes)
    assert (steps >= -1e-3).all() and steps.max() < 2.1 * (longest[1] - longest[0])
