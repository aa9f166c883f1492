"""Seams against the connected parts of whole images: nothing twice, nothing lost, nothing cut."""

import numpy as np
import pytest

pytest.importorskip("rasterio")
pytest.importorskip("geopandas")

from helpers.bright import BrightDetector, components, drawn

from insight.geo.detect import pieces_of
from insight.geo.found import from_mask
from insight.geo.seams import Candidate, Kind, Seams, are_one, kind_of, may_answer
from insight.geo.tiles import TileGrid


def found_in_tiles(image, grid):
    """The objects that the tiles of a grid show, after joining: (class, x, y, mask as bytes)."""
    detector, seams, found = BrightDetector(), Seams(grid), []
    for row in range(grid.y.count):
        candidates = []
        for column in range(grid.x.count):
            tile = grid.tile(row, column)
            x0, y0, x1, y1 = tile.window
            detector.set_image(image[y0:y1, x0:x1, None])
            for piece in pieces_of(detector.detect(), tile):
                kind = kind_of(grid, tile, piece.box)
                if kind == Kind.PLAIN:
                    found.append(piece)
                elif kind is not None:
                    candidates.append(Candidate(kind, tile, piece))
        found += seams.add_row(row, candidates)
    return sorted((p.class_id, *p.box, p.mask.tobytes()) for p in found)


def found_whole(image):
    return sorted(
        (class_id, *box, mask.tobytes())
        for class_id, colour in enumerate(BrightDetector.COLOURS)
        for box, mask in components(image == colour)
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("tile_size", "overlap"), [(128, 64), (192, 64), (512, None)])
def test_tiles_find_what_the_whole_image_shows(seed, tile_size, overlap):
    image = drawn((700 + 13 * seed, 900 - 37 * seed), seed)
    grid = TileGrid(image.shape, tile_size, overlap)
    assert len(grid) > 1 and found_in_tiles(image, grid) == found_whole(image)


@pytest.mark.parametrize(("tile_size", "overlap"), [(128, 64), (192, 64), (512, None), (384, 192)])
def test_what_need_not_be_answered_is_dropped_whatever_its_mask(tile_size, overlap):
    draw = np.random.default_rng(tile_size)
    grid = TileGrid((700, 900), tile_size, overlap)
    refused = 0
    for _ in range(3000):
        tile = grid.tile(int(draw.integers(grid.y.count)), int(draw.integers(grid.x.count)))
        x0, y0, x1, y1 = tile.window
        centre, half = draw.uniform((x0, y0), (x1, y1)), draw.uniform(2, 60, 2)
        box = np.concatenate([centre - half, centre + half]).clip((x0, y0) * 2, (x1, y1) * 2)
        if may_answer(grid, tile, box):
            continue
        refused += 1
        low, high = np.floor(box[:2]).astype(int) - 1, np.ceil(box[2:]).astype(int) + 1
        for _ in range(5):  # masks within it and a pixel more
            ends = np.sort(np.stack([draw.integers(low, high + 1) for _ in range(2)]), axis=0)
            ends[1] += ends[1] == ends[0]
            assert kind_of(grid, tile, tuple(ends.ravel().tolist())) is None
    assert refused > 200


def test_only_objects_around_the_core_may_have_to_be_answered():
    grid = TileGrid((1000, 1000), 512, 256)
    tile = grid.tile(1, 1)
    for left, answered in ((260, False), (350, False), (370, True), (500, True), (630, True), (650, False)):
        assert may_answer(grid, tile, (left, 480, left + 20, 500)) == answered, left


@pytest.mark.parametrize("offset", range(0, 130, 7))
def test_an_object_anywhere_around_a_seam_is_found_once(offset):
    image = np.zeros((200, 600), np.uint8)
    image[60:90, 100 + offset : 140 + offset] = 200  # around the overlap of the first two tiles
    image[150:160, offset : 330 + offset] = 100  # longer than a tile
    assert found_in_tiles(image, TileGrid(image.shape, 256, 128)) == found_whole(image)


def test_an_object_that_a_seam_cuts_into_arms_is_one():
    image = np.zeros((300, 700), np.uint8)
    image[20:280, 100:130] = 200
    for y in range(20, 280, 40):  # a comb whose teeth end in the next tile
        image[y : y + 10, 100:360] = 200
    assert found_in_tiles(image, TileGrid(image.shape, 256, 64)) == found_whole(image)


def test_a_strip_three_pixels_wide_is_cut_along_its_length_only():
    image = np.zeros((3, 5000), np.uint8)
    for x in range(0, 5000, 90):
        image[:, x : x + 70] = 200
    assert found_in_tiles(image, TileGrid(image.shape, 256, 64)) == found_whole(image)


@pytest.mark.parametrize("shift", [1, 2, 3])
def test_two_tiles_whose_outlines_differ_a_little_give_one_object(shift):
    grid = TileGrid((256, 1000), 256, 128)
    border = grid.tile(0, 0).core[2]
    for start in range(border - 30, border):  # the centre passes over the border
        here, there = (from_mask(np.ones((20, 30), bool), (start + s, 100), 0, 0.9) for s in (0, shift))
        kinds = [(grid.tile(0, i), piece) for i, piece in enumerate((here, there))]
        candidates = [Candidate(k, tile, p) for tile, p in kinds if (k := kind_of(grid, tile, p.box)) is not None]
        plain = [c for c in candidates if c.kind == Kind.PLAIN]
        joined = list(Seams(grid).add_row(0, [c for c in candidates if c.kind != Kind.PLAIN]))
        assert len(plain) + len(joined) == 1, (start, kinds)


def test_neighbours_that_touch_stay_two():
    grid = TileGrid((256, 1000), 256, 128)
    pieces = [from_mask(np.ones((20, 30), bool), (170, y), 0, 0.9) for y in (100, 120)]
    candidates = [Candidate(Kind.PRIMARY, grid.tile(0, i), piece) for i, piece in enumerate(pieces)]
    assert len(list(Seams(grid).add_row(0, candidates))) == 2


def test_classes_are_not_joined():
    grid = TileGrid((256, 1000), 256, 128)
    a, b = (
        Candidate(Kind.FRAGMENT, grid.tile(0, i), from_mask(np.ones((20, 100), bool), (140, 100), i, 0.9))
        for i in (0, 1)
    )
    assert not are_one(a, b)


def test_the_joined_object_of_two_cut_ones_is_their_union():
    grid = TileGrid((256, 1000), 256, 128)
    left = from_mask(np.ones((20, 216), bool), (40, 100), 0, 0.6)
    right = from_mask(np.ones((20, 216), bool), (128, 100), 0, 0.8)
    (joined,) = Seams(grid).add_row(
        0, [Candidate(Kind.FRAGMENT, grid.tile(0, i), p) for i, p in enumerate((left, right))]
    )
    assert (joined.box, joined.area, joined.score) == ((40, 100, 344, 120), 304 * 20, 0.8)
