"""Prediction on rasters: the same polygons for every tile size, engine and interruption."""

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("rasterio")
pytest.importorskip("geopandas")

import cv2
import geopandas
import shapely
import torch
from affine import Affine
from helpers.bright import BrightDetector, components, drawn
from helpers.rasters import ROTATED, write
from helpers.tiny_sopseg import small_sopseg

from insight.errors import InputError
from insight.geo.predict import predict_raster
from insight.geo.raster import Raster
from insight.geo.work import model_settings
from insight.inference.predictor import PromptPredictor
from insight.inference.sopseg_predictor import SOPSegPredictor
from insight.runtime.locks import output_folder
from insight.structures.oriented_boxes import oriented_corners


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """The path of a drawn scene, and its image."""
    image = drawn((600, 700), 3, count=100)
    return write(tmp_path_factory.mktemp("scene") / "scene.tif", image), image


def in_pixels(table):
    """WKB of the normalised multipolygons in pixels, sorted."""
    inverse = ~ROTATED
    moved = shapely.transform(table.geometry.to_numpy(), lambda p: np.round(np.stack(inverse * p.T, 1)))
    parts = (shapely.MultiPolygon(list(shapely.get_parts(polygon))) for polygon in moved)
    return sorted(shapely.to_wkb(shapely.normalize(list(parts))))


def test_every_object_is_one_polygon_for_every_tile_size(scene):
    path, image = scene
    tables = [predict_raster(path, BrightDetector(), tile_size=size) for size in (256, 384, 1024)]
    first = in_pixels(tables[0])
    assert all(in_pixels(table) == first for table in tables[1:])
    expected = {c: list(components(image == colour)) for c, colour in enumerate(BrightDetector.COLOURS)}
    for table in tables:
        assert table.crs.to_epsg() == 32632 and list(table.instance_id) == list(range(1, len(table) + 1))
        assert table.is_valid.all() and set(table.score) == {0.75}
        for class_id, parts in expected.items():
            areas = table.area[table.class_id == class_id] / abs(ROTATED.determinant)
            assert sorted(areas.round().astype(int)) == sorted(int(mask.sum()) for _, mask in parts)


def test_the_polygons_cover_the_pixels_that_were_found(scene):
    path, image = scene
    table = predict_raster(path, BrightDetector(), tile_size=256)
    from rasterio.features import rasterize

    shapes = zip(table.geometry, (BrightDetector.COLOURS[i] for i in table.class_id))
    np.testing.assert_array_equal(rasterize(shapes, image.shape, transform=ROTATED, dtype=np.uint8), image)


def test_a_file_holds_the_same_as_the_table(scene, tmp_path):
    path, _ = scene
    assert predict_raster(path, BrightDetector(), output=tmp_path / "found.gpkg") is None
    table = predict_raster(path, BrightDetector())
    read = geopandas.read_file(tmp_path / "found.gpkg", layer="objects")
    assert in_pixels(read) == in_pixels(table) and read.crs == table.crs
    assert sorted(p.name for p in tmp_path.iterdir()) == ["found.gpkg", "found.gpkg.run.json"]
    run = json.loads((tmp_path / "found.gpkg.run.json").read_text())
    assert run["objects"] == len(table) and run["raster"] == "scene.tif"


def test_the_stretch_is_kept_with_the_result_and_can_be_given(tmp_path):
    image = (drawn((300, 300), 1, count=30).astype(np.uint16) * 20) + 7
    path = write(tmp_path / "a.tif", image)
    predict_raster(path, BrightDetector(), output=tmp_path / "a.fgb")
    assert Raster(path, rescale=tmp_path / "a.fgb.run.json").rescale == Raster(path).rescale


def test_a_scene_without_objects_gives_an_empty_layer(tmp_path):
    path = write(tmp_path / "a.tif", np.zeros((300, 200), np.uint8))
    predict_raster(path, BrightDetector(), output=tmp_path / "a.gpkg")
    assert len(geopandas.read_file(tmp_path / "a.gpkg")) == 0
    assert len(predict_raster(path, BrightDetector())) == 0


@pytest.mark.parametrize("size", [(1, 1), (3, 50_000), (50_000, 3)])
def test_scenes_of_a_pixel_and_narrow_strips(tmp_path, size):
    image = np.full(size, 200, np.uint8)
    table = predict_raster(write(tmp_path / "a.tif", image), BrightDetector(), tile_size=1024)
    assert len(table) == 1 and table.area[0] == pytest.approx(image.size * abs(ROTATED.determinant))


def test_without_a_crs_pixels_are_used_and_said_once(tmp_path, caplog):
    image = drawn((300, 300), 1, count=30)
    path = write(tmp_path / "a.tif", image, crs=None, transform=Affine.identity())
    table = predict_raster(path, BrightDetector())
    assert caplog.text.count("has no CRS; the coordinates of the result are pixels") == 1
    assert table.crs is None and table.area.sum() == (image > 0).sum()


def test_the_ground_distance_changes_the_pixels_and_not_the_place(scene):
    path, _ = scene
    own, coarse = (predict_raster(path, BrightDetector(), gsd=gsd) for gsd in (None, Raster(path).gsd_m * 2))
    assert own.union_all().intersection(coarse.union_all()).area / coarse.union_all().area > 0.9


@pytest.mark.parametrize(("gsd", "zoom"), [((0.1, 0.2), 2.5), ((1.0, 2.0), 0.5), ((0.1, 2.0), 1)])
def test_a_detector_sees_the_ground_distance_that_it_was_trained_at(tmp_path, caplog, gsd, zoom):
    own = 0.5
    image = np.zeros((300, 400), np.uint8)
    image[40:80, 100:200] = 200
    path = write(tmp_path / "a.tif", image, transform=Affine(own, 0, 5e5, 0, -own, 5e6))
    detector = BrightDetector()
    detector.gsd = gsd
    table = predict_raster(path, detector)
    assert detector._image.shape == (300 * zoom, 400 * zoom)
    drawn_box = shapely.box(500_050, 4_999_960, 500_100, 4_999_980)
    assert table.area.sum() == pytest.approx(drawn_box.intersection(table.geometry[0]).area)
    assert table.area.sum() > 0.96 * drawn_box.area  # without the pixels at the edge, which are mixed
    assert caplog.text.count(f"is resampled from 0.5 to {own / zoom:g} m per pixel") == (zoom != 1)
    predict_raster(path, detector, gsd=0.5)
    assert detector._image.shape == (300, 400)


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(scene, tmp_path, workers):
    predict_raster(scene[0], BrightDetector(), tile_size=256, output=tmp_path / "a.gpkg", workers=workers)
    predict_raster(scene[0], BrightDetector(), tile_size=256, output=tmp_path / "b.gpkg")
    assert (tmp_path / "a.gpkg").read_bytes() == (tmp_path / "b.gpkg").read_bytes()


class Stopping(BrightDetector):
    """Fails in a tile."""

    def __init__(self, after):
        super().__init__()
        self._after = after

    def detect(self):
        if self._tiles > self._after:
            raise OSError("stopped")
        return super().detect()


Stopping.__name__ = "BrightDetector"  # which runs take for the same model


@pytest.mark.parametrize("after", [0, 3, 7])
def test_a_stopped_run_goes_on_and_gives_the_same_bytes(scene, tmp_path, after):
    whole, resumed = tmp_path / "a.gpkg", tmp_path / "b.gpkg"
    options = {"tile_size": 256, "overlap": 64}
    predict_raster(scene[0], BrightDetector(), output=whole, **options)
    with pytest.raises(OSError, match="stopped"):
        predict_raster(scene[0], Stopping(after), output=resumed, **options)
    assert not resumed.exists()
    rest = BrightDetector()
    predict_raster(scene[0], rest, output=resumed, **options)
    total = BrightDetector()
    predict_raster(scene[0], total, output=tmp_path / "c.gpkg", **options)
    assert rest._tiles == total._tiles - after and whole.read_bytes() == resumed.read_bytes()
    assert not (tmp_path / "b.gpkg.unfinished").exists()


def test_a_failure_to_write_ends_the_run_and_keeps_what_was_found(scene, tmp_path, monkeypatch):
    def full(self, table):
        raise OSError(28, "No space left on device", str(self.path))

    detector = BrightDetector()
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr("insight.geo.writers.Writer.write", full)
        predict_raster(scene[0], detector, tile_size=256, output=tmp_path / "a.gpkg")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.gpkg.unfinished"]
    rest = BrightDetector()
    predict_raster(scene[0], rest, tile_size=256, output=tmp_path / "a.gpkg")
    total = BrightDetector()
    predict_raster(scene[0], total, tile_size=256, output=tmp_path / "b.gpkg")
    assert rest._tiles < total._tiles and (tmp_path / "a.gpkg").read_bytes() == (tmp_path / "b.gpkg").read_bytes()


def test_changed_settings_begin_anew_and_say_so(scene, tmp_path, caplog):
    output = tmp_path / "a.gpkg"
    with pytest.raises(OSError, match="stopped"):
        predict_raster(scene[0], Stopping(3), output=output, tile_size=256)
    predict_raster(scene[0], BrightDetector(), output=output, tile_size=384)
    assert "starts over; changed since the run that was stopped: tile_size" in caplog.text


def test_a_changed_scene_begins_anew_and_says_so(tmp_path, caplog):
    path = write(tmp_path / "a.tif", drawn((600, 600), 1))
    with pytest.raises(OSError, match="stopped"):
        predict_raster(path, Stopping(3), output=tmp_path / "a.gpkg", tile_size=256)
    image = drawn((600, 600), 2)
    write(path, image)
    predict_raster(path, BrightDetector(), output=tmp_path / "a.gpkg", tile_size=256)
    assert "starts over; changed since the run that was stopped: raster" in caplog.text
    found = geopandas.read_file(tmp_path / "a.gpkg")
    assert len(found) == sum(len(list(components(image == colour))) for colour in BrightDetector.COLOURS)


HOLDING = """
import time
from insight.runtime.locks import output_folder
with output_folder({folder!r}):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_run_to_the_same_output_is_refused(scene, tmp_path):
    script = HOLDING.format(folder=str(tmp_path / "a.gpkg.unfinished"))
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError, match="is writing there"):
            predict_raster(scene[0], BrightDetector(), output=tmp_path / "a.gpkg")
        other.kill()
    predict_raster(scene[0], BrightDetector(), output=tmp_path / "a.gpkg")
    with output_folder(tmp_path / "a.gpkg.unfinished"):
        pass


KILLED = """
import sys, time
sys.path.insert(0, {tests!r})
from helpers.bright import BrightDetector
from insight.geo.predict import predict_raster

class Slow(BrightDetector):
    def detect(self):
        time.sleep(0.05)
        return super().detect()

Slow.__name__ = "BrightDetector"
predict_raster({scene!r}, Slow(), tile_size=128, overlap=64, output={output!r})
"""


def test_a_killed_run_goes_on_and_gives_the_same_bytes(scene, tmp_path):
    output = tmp_path / "a.gpkg"
    tests = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    script = KILLED.format(tests=tests, scene=str(scene[0]), output=str(output))
    journal = tmp_path / "a.gpkg.unfinished" / "journal"
    with subprocess.Popen([sys.executable, "-c", script]) as run:
        while not (journal.exists() and journal.read_bytes().count(b"\n") > 5):
            assert run.poll() is None
            time.sleep(0.02)
        run.send_signal(signal.SIGKILL)
    assert not output.exists()
    rest, options = BrightDetector(), {"tile_size": 128, "overlap": 64}
    predict_raster(scene[0], rest, output=output, **options)
    total = BrightDetector()
    predict_raster(scene[0], total, output=tmp_path / "b.gpkg", **options)
    assert 0 < rest._tiles < total._tiles
    assert output.read_bytes() == (tmp_path / "b.gpkg").read_bytes()


@pytest.fixture(scope="module")
def sopseg():
    """A small SOPSeg with random weights, whose masks still depend on every pixel of the crop."""
    torch.manual_seed(0)
    return SOPSegPredictor(small_sopseg(), input_size=64)


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """The path of a scene of three bands, and boxes in it, some over its border."""
    rng = np.random.default_rng(0)
    image = np.asarray(rng.integers(0, 256, (700, 900, 3)), np.uint8)
    path = write(tmp_path_factory.mktemp("photo") / "photo.tif", image)
    centres, sizes = rng.uniform(0, 1, (40, 2)) * (900, 700), rng.uniform(8, 60, (40, 2))
    return path, image, np.concatenate([centres - sizes / 2, centres + sizes / 2], 1).astype(np.float32)


def test_prompted_masks_are_those_of_the_whole_image(sopseg, photo):
    path, image, boxes = photo
    oriented = [[300, 200, 60, 14, 30], [500.5, 400.25, 30, 20, -70]]
    table = predict_raster(path, sopseg, boxes=boxes, oriented_boxes=oriented)
    whole = sopseg.predict(boxes=boxes, oriented_boxes=oriented, image=image)
    assert list(table.instance_id) == list(range(1, 43))
    np.testing.assert_allclose(table.score, whole.scores, atol=2e-5)
    areas = np.nan_to_num(table.area / abs(ROTATED.determinant)).round().astype(int)
    assert np.abs(areas - whole.masks.areas().numpy()).max() <= 2  # single pixels may fall otherwise by rounding


def test_oriented_boxes_far_from_the_origin_reach_the_shipped_model_as_they_are(tmp_path):
    """It draws their corners into its refinement."""
    shipped = SOPSegPredictor.from_pretrained(device="cpu", input_size=128)
    oriented = [[300, 200, 60, 14, 30], [820.5, 640.25, 30, 20, -70], [700, 560, 50, 12, 10]]
    image = np.full((700, 900, 3), 60, np.uint8)
    for corners in oriented_corners(oriented).numpy():
        cv2.fillPoly(image, [corners.round().astype(np.int32)], (220, 210, 200))
    path = write(tmp_path / "a.tif", image)
    table = predict_raster(path, shipped, oriented_boxes=oriented)
    whole = shipped.predict(oriented_boxes=oriented, image=image)
    assert whole.masks.areas().min() > 20
    areas = (table.area / abs(ROTATED.determinant)).round().astype(int)
    assert np.abs(areas - whole.masks.areas().numpy()).max() <= 2
    np.testing.assert_allclose(table.score, whole.scores, atol=2e-5)


def test_prompted_masks_do_not_depend_on_tiles_workers_or_files(sopseg, photo, tmp_path):
    path, _, boxes = photo
    first = predict_raster(path, sopseg, boxes=boxes, tile_size=256)
    other = predict_raster(path, sopseg, boxes=boxes, tile_size=2048)
    assert first.geometry.to_wkb().equals(other.geometry.to_wkb()) and first.score.equals(other.score)
    for number, workers in enumerate((1, 2)):
        predict_raster(path, sopseg, boxes=boxes, output=tmp_path / f"{number}.gpkg", workers=workers)
    assert (tmp_path / "0.gpkg").read_bytes() == (tmp_path / "1.gpkg").read_bytes()


class BrightPrompts(BrightDetector):
    """Answers a box with the largest part inside it."""

    def predict(self, *, boxes=None, oriented_boxes=None):
        assert oriented_boxes is None
        found = self.detect()
        overlaps = []
        for x0, y0, x1, y1 in boxes.tolist():
            inside = (found.boxes[:, :2] >= torch.tensor([x0, y0])).all(1)
            inside &= (found.boxes[:, 2:] <= torch.tensor([x1, y1])).all(1)
            overlaps.append(int((found.masks.areas() * inside).argmax()))
        return found[overlaps]


@pytest.mark.parametrize("tile_size", [128, 256, 1024])
def test_a_detector_answers_boxes_in_their_order(scene, tile_size):
    path, image = scene
    parts = [(box, mask) for colour in BrightDetector.COLOURS for box, mask in components(image == colour)]
    alone = [(box, mask) for box, mask in parts if max(mask.shape) < 60]  # also in the smallest tiles
    order = np.random.default_rng(0).permutation(len(alone))
    table = predict_raster(path, BrightPrompts(), boxes=[alone[i][0] for i in order], tile_size=tile_size)
    areas = (table.area / abs(ROTATED.determinant)).round().astype(int)
    assert list(table.instance_id) == list(range(1, len(order) + 1))
    assert list(areas) == [int(alone[i][1].sum()) for i in order]


class Placed(BrightPrompts):
    """Takes tiles with their place in a scene, whose pixels they must have."""

    def __init__(self, scene):
        super().__init__()
        self._scene = scene

    def set_tile(self, image, origin):
        x, y = origin
        np.testing.assert_array_equal(image[..., 0], self._scene[y : y + image.shape[0], x : x + image.shape[1]])
        super().set_image(image)

    def set_image(self, image):
        raise AssertionError("set_tile is called instead")


@pytest.mark.parametrize("prompts", [{}, {"boxes": [[0, 0, 250, 250], [400, 300, 690, 590]]}])
def test_a_detector_that_takes_it_is_told_the_place_of_a_tile(scene, prompts):
    path, image = scene
    ours, others = (
        predict_raster(path, detector, tile_size=384, **prompts) for detector in (Placed(image), BrightPrompts())
    )
    assert in_pixels(ours) == in_pixels(others)


class Choosing(BrightDetector):
    """Makes no masks of what other tiles answer for."""

    seen = kept = 0

    def detect_where(self, keep):
        everything = self.detect()
        chosen = keep(everything.boxes)
        self.seen, self.kept = self.seen + len(chosen), self.kept + int(chosen.sum())
        return everything[chosen]


@pytest.mark.parametrize("tile_size", [128, 384])
def test_a_detector_need_not_find_what_other_tiles_answer_for(scene, tile_size):
    path, _ = scene
    choosing = Choosing()
    ours, others = (predict_raster(path, d, tile_size=tile_size, overlap=64) for d in (choosing, BrightDetector()))
    assert in_pixels(ours) == in_pixels(others)
    assert len(ours) <= choosing.kept < choosing.seen


def test_the_windows_of_the_context_are_a_setting_of_a_run(prompt_model, monkeypatch):
    predictor = PromptPredictor(prompt_model)
    before = model_settings(predictor)
    assert model_settings(predictor) == before
    monkeypatch.setattr(prompt_model.prompt_encoder.global_to_local, "window", 256)
    assert model_settings(predictor) != before


def test_boxes_are_in_pixels_of_the_file_whatever_it_is_resampled_to(tmp_path):
    image = np.zeros((300, 400), np.uint8)
    image[40:80, 100:200], image[200:240, 300:360] = 200, 200
    path = write(tmp_path / "a.tif", image, transform=Affine(0.5, 0, 5e5, 0, -0.5, 5e6))
    (tmp_path / "boxes.csv").write_text("x1,y1,x2,y2,x3,y3,x4,y4\n298,198,362,198,362,242,298,242\n")
    for prompts in ({"boxes": [[298, 198, 362, 242]]}, {"prompts": tmp_path / "boxes.csv"}):
        table = predict_raster(path, BrightPrompts(), gsd=1.0, **prompts)
        assert table.geometry[0].equals(shapely.box(500_150, 4_999_880, 500_180, 4_999_900))


def test_points_alone_are_answered_from_a_square_around_them(sopseg, photo):
    table = predict_raster(photo[0], sopseg, points=[[[100, 100]], [[890, 690]]], labels=[[1], [1]])
    assert len(table) == 2


def test_attributes_follow_their_prompts(sopseg, photo):
    import pandas

    path, _, boxes = photo
    names = pandas.DataFrame({"berth": [f"B{i}" for i in range(40)], "score": range(40)})
    table = predict_raster(path, sopseg, boxes=boxes, attributes=names)
    assert list(table.berth) == list(names.berth) and list(table.prompt_score) == list(range(40))
    assert set(table.class_name) == {"object"} and set(table.class_id) == {0}
    kinds = pandas.DataFrame({"class_name": ["ship", "tank", None, *["ship"] * 37], "n": range(40)})
    table = predict_raster(path, sopseg, boxes=boxes, attributes=kinds)
    assert list(table.class_name) == ["ship", "tank", "object", *["ship"] * 37]
    assert list(table.class_id) == [1, 2, 0, *[1] * 37] and list(table.n) == list(range(40))
    assert "prompt_class_name" not in table
    with pytest.raises(InputError, match="attributes: expected a row for each of 40 prompts, got 3"):
        predict_raster(path, sopseg, boxes=boxes, attributes=names[:3])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"workers": 0}, "workers: expected"),
        ({"engine": "spark"}, "engine: expected local or ray"),
        ({"output": "found.txt"}, "output: expected a file name that ends in .gpkg, "),
        ({"bands": "7"}, "bands: expected"),
        ({"tile_size": 10}, "tile_size: expected"),
        ({"prompts": "a.gpkg", "boxes": [[1, 1, 5, 5]]}, "prompts: a layer holds all prompts"),
        ({"boxes": [[1, 1, 1, 5]]}, "boxes"),
        ({"boxes": [[5000, 1, 5010, 5]]}, "boxes"),
    ],
)
def test_impossible_arguments_are_refused(scene, options, match):
    with pytest.raises(InputError, match=match):
        predict_raster(scene[0], BrightDetector(), **options)


def test_a_raster_is_not_overwritten_by_its_result(tmp_path):
    path = write(tmp_path / "a.gpkg", drawn((100, 100), 1))  # a TIFF with an unusual name
    before = path.read_bytes()
    with pytest.raises(InputError, match="is the raster"):
        predict_raster(path, BrightDetector(), output=path)
    assert path.read_bytes() == before


def test_sopseg_does_not_detect(sopseg, scene):
    with pytest.raises(InputError, match="does not detect objects; give boxes"):
        predict_raster(scene[0], sopseg)


def test_processes_do_not_share_a_gpu(scene):
    model = BrightDetector()
    model.model = SimpleNamespace(parameters=lambda: [SimpleNamespace(is_cuda=True)])
    with pytest.raises(InputError, match="workers: expected 1 for a model on a GPU"):
        predict_raster(scene[0], model, workers=2)


def test_ray_that_is_missing_is_one_line(scene, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r"engine: Ray is not installed .*pip install 'insight-seg\[ray\]'"):
        predict_raster(scene[0], BrightDetector(), engine="ray")
