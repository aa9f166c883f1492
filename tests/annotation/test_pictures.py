"""Histograms hold NumPy's counts; contact sheets show the right masks at the right place."""

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from insight.annotation.candidates import Candidate, Verdict
from insight.annotation.contact_sheet import CAPTION, COLUMNS, TILE, Extremes, draw_contact_sheet
from insight.annotation.filters import Filters
from insight.annotation.histograms import draw_histograms
from insight.annotation.measures import measure_mask
from insight.annotation.report import Statistics
from insight.annotation.sources import SourceImage

KEEP, DROP = Verdict(True), Verdict(False, ("score",))


@pytest.fixture
def candidate(tmp_path):
    """Makes masks x1 to x2, 10 to 20 of a grey image, in a box that is 10 pixels longer."""
    path = tmp_path / "a.png"
    Image.fromarray(np.full((40, 200, 3), 120, np.uint8)).save(path)
    image = SourceImage(1, "a.png", path, 1)

    def make(number, x1=20, x2=40, score=0.5):
        mask = np.zeros((40, 200), np.uint8, order="F")
        mask[10:20, x1:x2] = 1
        code = coco_mask.encode(mask)
        corners = np.array([[x1, 10], [x2 + 10, 10], [x2 + 10, 20], [x1, 20]], np.float32)
        measured = {"score": score, "counts": code["counts"].decode(), **measure_mask(code, corners)}
        return Candidate(number, image, (40, 200), "ship", corners, {}, measured)

    return make


def test_extremes_are_those_of_a_sort(candidate):
    scores = np.random.default_rng(0).integers(0, 50, 500) / 50
    lowest, highest = Extremes(1, 20), Extremes(-1, 20)
    for number, score in enumerate(scores.tolist()):
        for found in (lowest, highest):
            found.add(candidate(number, score=score), KEEP)
    assert [c.id for c, _ in lowest.best()] == np.lexsort((np.arange(500), scores))[:20].tolist()
    assert [c.id for c, _ in highest.best()] == np.lexsort((np.arange(500), -scores))[:20].tolist()


def test_histograms_are_numpys(candidate):
    statistics = Statistics()
    masks = [candidate(i, x2=21 + i, score=s) for i, s in enumerate(np.linspace(0.01, 0.99, 60).tolist())]
    for mask in masks:
        statistics.add(mask, KEEP if mask.measured["score"] > 0.5 else DROP)
    for name, high in {"score": 1, "in_box": 1, "area_ratio": 2, "largest_part": 1}.items():
        for kind, of_kind in (("kept", lambda s: s > 0.5), ("dropped", lambda s: s <= 0.5)):
            values = [m.measured[name] for m in masks if of_kind(m.measured["score"])]
            np.testing.assert_array_equal(statistics.bins[name][kind], np.histogram(values, 40, (0, high))[0])
    assert statistics.reasons == {"score": 30} and statistics.count("kept") == 30


def test_values_beyond_a_histogram_are_in_its_last_bins(candidate):
    statistics = Statistics()
    for score in (-0.2, 1.3, float("nan")):
        statistics.add(candidate(1, score=score), KEEP)
    assert statistics.bins["score"]["kept"][[0, -1]].tolist() == [1, 1] and statistics.count("kept") == 3


def test_histograms_are_drawn(candidate, tmp_path):
    statistics = Statistics()
    statistics.add(candidate(1), KEEP)
    for name, filters in (("a.png", Filters()), ("b.png", None)):
        draw_histograms(statistics, filters, tmp_path / "out" / name)
    with_bounds, without = (np.asarray(Image.open(tmp_path / "out" / name)) for name in ("a.png", "b.png"))
    assert with_bounds.shape == without.shape and (with_bounds != without).any()


def test_a_contact_sheet_shows_each_mask_in_its_tile(candidate, tmp_path):
    masks = [(candidate(i, x1=20, x2=40), KEEP) for i in range(COLUMNS)] + [(candidate(99, x1=185, x2=195), DROP)]
    draw_contact_sheet(masks, tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png")).astype(int)
    assert sheet.shape == (2 * (TILE + CAPTION), COLUMNS * TILE, 3)
    tile = sheet[:TILE, TILE : 2 * TILE]
    yellow, cyan = ((abs(tile - color).max(2) < 40) for color in ((255, 235, 60), (60, 220, 255)))
    # The box from 20 to 50 is shown in the middle of 45 pixels, that is from 12.5 to 57.5.
    scale = (TILE - 2) / 45
    columns = np.flatnonzero(yellow.any(0))
    assert abs(columns[0] - 7.5 * scale) < 3 and abs(columns[-1] - 27.5 * scale) < 3
    assert abs(np.flatnonzero(cyan.any(0))[-1] - 37.5 * scale) < 3
    assert (tile[TILE // 2, 3] == 120).all()
    last = sheet[TILE + CAPTION :, :TILE]
    assert (last[TILE // 2, TILE - 8] == 40).all() and (last[TILE // 2, 2] == 120).all()  # right of the image is none
    assert last[TILE:].max() > 200 and sheet[TILE + CAPTION :, TILE:].max() == 0


@pytest.mark.parametrize(("count", "rows", "columns"), [(1, 1, 1), (3, 1, 3), (10, 1, 10), (11, 2, 10)])
def test_a_sheet_is_no_larger_than_its_tiles(candidate, tmp_path, count, rows, columns):
    draw_contact_sheet([(candidate(1), KEEP)] * count, tmp_path / "sheet.png")
    assert Image.open(tmp_path / "sheet.png").size == (columns * TILE, rows * (TILE + CAPTION))


def test_a_sheet_of_no_masks_says_so(tmp_path):
    draw_contact_sheet([], tmp_path / "sheet.png")
    sheet = np.array(Image.open(tmp_path / "sheet.png"))
    assert sheet.shape == (TILE + CAPTION, TILE, 3) and sheet[:TILE].max() > 200


def test_an_image_that_is_gone_leaves_its_tiles_empty(candidate, tmp_path):
    mask = candidate(1)
    mask.image.path.unlink()
    draw_contact_sheet([(mask, KEEP)], tmp_path / "sheet.png")
    assert np.asarray(Image.open(tmp_path / "sheet.png"))[:TILE].max() == 0
