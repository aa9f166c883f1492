"""Outlines with the errors of people."""

import numpy as np
import pytest
import torch

from insight.data.mappers.outlines import redraw_outline


def redrawn(mask, error, seed):
    return redraw_outline(mask, error, torch.Generator().manual_seed(seed))


def disc(radius, size=60):
    y, x = np.mgrid[:size, :size] + 0.5
    return torch.from_numpy(np.hypot(x - size / 2, y - size / 2) < radius)


@pytest.mark.parametrize("error", [0.5, 1.25, 3.0])
def test_a_disc_grows_and_moves_by_no_more_than_the_error(error):
    """Against the radius of a disc of the same area, and its centre of mass."""
    growth, shift = [], []
    for seed in range(200):
        mask = redrawn(disc(15), error, seed)
        growth.append(np.sqrt(float(mask.sum()) / np.pi) - 15)
        shift.append(mask.nonzero().double().mean(0).numpy() + 0.5 - 30)
    growth, shift = np.array(growth), np.array(shift)
    step = 0.1 + 0.2  # half a step of a shift, and the rounding to pixels
    assert growth.min() > 0 and error - 0.1 < growth.max() < error + 1 / 3
    assert error / 2 < np.mean(growth) < error / 2 + 1 / 3
    assert np.abs(shift).max() < error / 2 + step
    assert shift.max() > error / 4 and shift.min() < -error / 4
    assert np.abs(shift.mean(0)).max() < 0.1 * error


def test_no_error_changes_nothing():
    for seed in range(5):
        assert torch.equal(redrawn(disc(7.3), 0.0, seed), disc(7.3))


@pytest.mark.parametrize("window", [np.s_[0:9, 0:60], np.s_[40:60, 55:60], np.s_[0:60, 0:60], np.s_[20:21, 20:21]])
def test_at_the_border_of_the_image_an_outline_stays_inside(window):
    mask = torch.zeros(60, 60, dtype=torch.bool)
    mask[window] = True
    for seed in range(40):
        found = redrawn(mask, 1.25, seed)
        assert found.shape == mask.shape and found.any()
        rows, columns = (np.flatnonzero(found.any(axis)) for axis in (1, 0))
        wider = max(abs(int(rows[0]) - window[0].start), abs(int(columns[0]) - window[1].start))
        assert wider <= 2
