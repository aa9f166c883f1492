"""Grids of tiles: partitions, alignment and who answers for an object."""

import numpy as np
import pytest
import torch

pytest.importorskip("rasterio")
pytest.importorskip("geopandas")

from hypothesis import given
from hypothesis import strategies as st

from insight.errors import InputError
from insight.geo.tiles import STRIDE, TileGrid
from insight.structures.context_windows import ContextWindows

SIDES = st.integers(1, 3000)


@given(SIDES, SIDES, st.sampled_from([128, 200, 512, 1024]), st.sampled_from([None, 2, 64, 100]))
def test_cores_partition_the_scene_inside_of_their_windows(height, width, tile_size, overlap):
    grid = TileGrid((height, width), tile_size, None if overlap is None else min(overlap, tile_size // 2))
    for axis, name in ((grid.x, "x"), (grid.y, "y")):
        cores, windows = ([part(i) for i in range(axis.count)] for part in (axis.core, axis.window))
        assert cores[0][0] == 0 and cores[-1][1] == axis.length, name
        assert all(a[1] == b[0] for a, b in zip(cores, cores[1:]))
        assert all(low <= first < last <= high for (low, high), (first, last) in zip(windows, cores))
        assert all(low % STRIDE == 0 and high - low <= axis.side for low, high in windows)
        assert all(a[1] - b[0] == axis.overlap for a, b in zip(windows, windows[1:]))
    assert len(list(grid)) == len(grid)


@given(st.integers(0, 2999), st.integers(1, 800))
def test_at_most_one_tile_answers_and_it_shows_the_object_with_its_margin(low, length):
    axis = TileGrid((100, 3000), 512, 128).x
    high = min(low + length, 3000)
    whole = [i for i in range(axis.count) if axis.sees_whole(i, low, high)]
    answer = axis.responsible(low, high)
    assert (answer is None) == (not whole) and (answer is None or answer in whole)
    if high - low <= axis.overlap - 2 * axis.margin:
        assert answer is not None
    for i in whole:
        first, last = axis.window(i)
        assert first == 0 or low - first >= axis.margin
        assert last == 3000 or last - high >= axis.margin


@given(SIDES, SIDES, st.sampled_from([(512, None), (1024, None), (2048, None), (1024, 512)]), st.data())
def test_what_the_core_holds_has_the_same_context_as_in_the_scene(height, width, tiling, data):
    grid = TileGrid((height, width), *tiling)
    tile = grid.tile(*(data.draw(st.integers(0, axis.count - 1)) for axis in (grid.y, grid.x)))
    centre = [data.draw(st.integers(low, high - 1)) + 0.25 for low, high in (tile.core[::2], tile.core[1::2])]

    def window(x0, y0, x1, y1):
        windows = ContextWindows((y1 - y0, x1 - x0), 512, (x0, y0))
        place = torch.tensor([[(centre[0] - x0) / (x1 - x0), (centre[1] - y0) / (y1 - y0)]], dtype=torch.float64)
        a, b, c, d = list(windows)[windows.locate(place.repeat(1, 2))[0]]
        return a + x0, b + y0, c + x0, d + y0

    assert window(*tile.window) == window(0, 0, width, height)


def test_every_pixel_is_of_the_core_that_is_named():
    axis = TileGrid((100, 2000), 256, 64).x
    for place in np.arange(0.5, 2000):
        low, high = axis.core(axis.core_of(place))
        assert low <= place < high


@pytest.mark.parametrize(
    ("tile_size", "overlap", "match"),
    [(100, None, "tile_size"), (256, 129, "overlap"), (256, 0, "overlap"), (256, -1, "overlap")],
)
def test_impossible_grids_are_refused(tile_size, overlap, match):
    with pytest.raises(InputError, match=f"{match}: expected"):
        TileGrid((500, 500), tile_size, overlap)


def test_a_scene_that_fits_is_one_tile():
    grid = TileGrid((1024, 3), 1024)
    assert len(grid) == 1 and grid.tile(0, 0).window == grid.tile(0, 0).core == (0, 0, 3, 1024)
