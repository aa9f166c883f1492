"""`insight predict` with a vector file as output, and `insight data town`."""

import os
import subprocess
import sys

import numpy as np
import pytest
import yaml

pytest.importorskip("rasterio")
pytest.importorskip("geopandas")

import geopandas
import shapely
from affine import Affine
from helpers.rasters import ROTATED, write
from helpers.tiny_sopseg import save_tiny_checkpoint

from insight import SOPSegPredictor
from insight.runtime.locks import output_folder

IMAGE = np.random.default_rng(0).integers(0, 256, (120, 150, 3), dtype=np.uint8)
BOXES = [[10, 20, 40, 50], [60, 30, 90, 45], [100, 80, 140, 110]]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a raster, a layer of boxes in another CRS, and config and checkpoint of a tiny SOPSeg model."""
    save_tiny_checkpoint(tmp_path / "sopseg.pth", monkeypatch)
    sopseg = {"ENCODER": "vit_b", "DECODER": "sam", "INPUT_SIZE": 64}
    model = {"META_ARCHITECTURE": "SOPSegMetaArch", "DEVICE": "cpu", "SOPSEG": sopseg}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"VERSION": 2, "MODEL": model}))
    write(tmp_path / "scene.tif", IMAGE)
    corners = [shapely.box(*box) for box in BOXES]
    on_map = shapely.transform(np.array(corners), lambda points: np.stack(ROTATED * points.T, 1))
    layer = geopandas.GeoDataFrame(
        {"berth": ["a", "b", "c"], "class": ["ship", "ship", "barge"]}, geometry=on_map, crs="EPSG:32632"
    )
    layer.to_crs("EPSG:4326").to_file(tmp_path / "berths.gpkg")
    return tmp_path


@pytest.fixture
def predict(insight, place):
    def run(*args, output="found.gpkg", source="scene.tif"):
        model = ["--config-file", place / "config.yaml", "--weights", place / "sopseg.pth"]
        return insight("predict", place / source, *model, "--output", place / output, *args)

    return run


def test_a_layer_of_boxes_gives_a_polygon_for_each(predict, place):
    done = predict("--boxes", place / "berths.gpkg")
    assert done.code == 0 and done.out.splitlines()[-1] == f"wrote {place}/found.gpkg"
    found = geopandas.read_file(place / "found.gpkg", layer="objects")
    assert list(found.berth) == ["a", "b", "c"] and list(found.class_name) == ["ship", "ship", "barge"]
    assert found.crs.to_epsg() == 32632
    asked = SOPSegPredictor(place / "sopseg.pth", input_size=64).predict(boxes=BOXES, image=IMAGE)
    np.testing.assert_allclose(found.score, asked.scores, atol=1e-3)  # boxes went to degrees and back


def test_boxes_in_pixels_to_any_suffix(predict, place):
    for suffix in (".geojson", ".fgb", ".parquet"):
        assert predict("--boxes", "10,20,40,50", output=f"found{suffix}").code == 0
        path = place / f"found{suffix}"
        table = geopandas.read_parquet(path) if suffix == ".parquet" else geopandas.read_file(path)
        assert len(table) == 1 and table.crs.to_epsg() == (4326 if suffix == ".geojson" else 32632)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--boxes", "10,20,40,50", "--bands", "9"], "error: --bands: expected numbers from 1 to 3"),
        (["--boxes", "10,20,40,50", "--rescale", "9,1"], "error: --rescale: expected LOW,HIGH"),
        (["--boxes", "10,20,40,50", "--gsd", "-1"], "error: --gsd: expected metres"),
        (
            ["--boxes", "10,20,40,50", "--engine", "spark"],
            "error: unknown value 'spark' of --engine; expected one of local, ray",
        ),
        (["--boxes", "10,20,40,50", "--class", "ship"], "error: --output: "),
        (["--boxes", "10,20,40,50", "--to", "fgb"], "error: --output: expected a folder with --to"),
        ([], "error: --boxes: SOPSeg does not detect objects"),
    ],
)
def test_bad_options_are_one_line(predict, place, args, says):
    done = predict(*args)
    assert done.code == 2 and done.err.splitlines()[-1].startswith(says)
    assert not (place / "found.gpkg").exists()


def _unread(*args, **options):
    raise AssertionError("the model was read")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--tile-size", "64"], "--tile-size: expected at least 128 pixels, got 64"),
        (["--overlap", "600"], "--overlap: expected 2 to 512 pixels, half a tile, got 600"),
        (["--simplify", "-1"], "--simplify: expected a number of pixels, at least 0, got -1"),
        (["--boxes", "far.gpkg"], "far.gpkg: lies elsewhere"),
        (["--also", "labels,stac"], "stac: expected a scene with a CRS, got none"),
        (["--to", "gpkg", "--gsd", "0"], "--gsd: expected metres per pixel"),
        (["--to", "gpkg", "--overlap", "1"], "--overlap: expected 2 to 512"),
        (["--to", "gpkg", "--bands", "1,2"], "--bands: expected one band or three (red, green, blue), got 2"),
        (["--to", "gpkg", "--bands", "9"], "--bands: expected numbers from 1 to 3, as "),
        (["--to", "gpkg", "--rescale", "9,1"], "--rescale: expected LOW,HIGH with LOW < HIGH"),
        (["--to", "gpkg", "--rescale", "no.json"], "--rescale: no.json: no such file"),
        (["--to", "gpkg", "--boxes", "far.gpkg"], "far.gpkg: lies elsewhere"),
        (["--boxes", "900,900,999,999"], "boxes[0] = [900.0, 900.0, 999.0, 999.0] lies outside the image"),
        (["--address", "auto"], "--address: is of a Ray cluster; expected the engine ray with it, got local"),
    ],
)
def test_a_mistake_is_told_before_the_model_is_read(predict, place, monkeypatch, args, says):
    monkeypatch.setattr("insight.inference.build.build_predictor", _unread)
    far = geopandas.read_file(place / "berths.gpkg").translate(1)
    far.to_file(place / "far.gpkg")
    if "labels,stac" in args:
        write(place / "scene.tif", IMAGE, crs=None)
    boxes = [] if "--boxes" in args else ["--boxes", "10,20,40,50"]
    args = [place / word if word == "far.gpkg" else word for word in args]
    done = predict(*args, *boxes, output="found" if "--to" in args else "found.gpkg")
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert done.code == 2 and len(errors) == 1 and says in errors[0]


def test_what_is_wrong_with_every_raster_is_reported_once(predict, place, monkeypatch):
    monkeypatch.setattr("insight.inference.build.build_predictor", _unread)
    (place / "scenes").mkdir()
    for name in "abc":
        write(place / "scenes" / f"{name}.tif", IMAGE)
    done = predict("--boxes", "1,1,9,9", "--bands", "4,3,2", "--to", "gpkg", source="scenes", output="found")
    (said,) = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert done.code == 2 and said == (
        f"error: --bands: expected numbers from 1 to 3, as {place}/scenes/a.tif has them, got '4'; none of the 3 "
        "rasters can be used"
    )


def test_warnings_of_a_raster_come_once(predict, place, caplog):
    write(place / "scene.tif", np.concatenate([IMAGE, IMAGE], 2))
    (place / "scenes").mkdir()
    (place / "scene.tif").rename(place / "scenes" / "a.tif")
    assert predict("--boxes", "1,1,9,9", "--to", "gpkg", source="scenes", output="found").code == 0
    assert predict("--boxes", "1,1,9,9", source="scenes/a.tif").code == 0
    assert caplog.text.count("shows bands 1, 2, 3 of 6") == 2  # one for each run


def test_an_output_in_use_is_reported_before_the_model_is_read(predict, place, monkeypatch):
    monkeypatch.setattr("insight.inference.build.build_predictor", _unread)
    with output_folder(place / "found.gpkg.unfinished"):
        done = predict("--boxes", "1,1,9,9")
    assert done.code == 2 and "found.gpkg.unfinished: process " in done.err


def test_an_output_is_checked_before_the_model_is_read(predict, place, monkeypatch):
    monkeypatch.setattr("insight.inference.build.build_predictor", _unread)
    for output, options in (("scene.tif/found.gpkg", ()), ("scene.tif", ("--to", "gpkg"))):
        done = predict("--boxes", "1,1,9,9", *options, output=output)
        assert done.code == 2 and done.err.splitlines()[-1].startswith("error: --output: ")


def test_a_folder_of_images_is_no_raster(predict, place):
    (place / "images").mkdir()
    done = predict("--boxes", "1,1,9,9", source="images")
    assert done.code == 2 and "is for the polygons of one raster; for many, name a folder" in done.err


def test_many_rasters_to_a_folder(predict, place, caplog):
    scenes = place / "scenes"
    scenes.mkdir()
    write(scenes / "a.tif", IMAGE)
    write(scenes / "far.tif", IMAGE, transform=ROTATED * Affine.translation(5000, 0))
    (scenes / "cut.tif").write_bytes((scenes / "a.tif").read_bytes()[:20_000])
    options = ("--boxes", place / "berths.gpkg", "--to", "gpkg", "--also", "labels")
    done = predict(*options, source="scenes", output="found")
    assert done.code == 1 and "Traceback" not in done.err
    said = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(said) == 1 and f"cannot read raster {scenes}/cut.tif: it is truncated" in said[0]
    assert f"wrote {place}/found/a.gpkg" in done.out and f"wrote {place}/found/a_labels.tif" in done.out
    assert "1 of 3 rasters have no prompts" in caplog.text and not (place / "found" / "far.gpkg").exists()
    assert len(geopandas.read_file(place / "found" / "a.gpkg", layer="objects")) == 3
    assert "kept 1 file that an earlier run has written" in predict(*options, source="scenes", output="found").out


@pytest.mark.parametrize(
    ("image", "says"),
    [(np.zeros((50, 60, 3), np.uint16), "no pixel has data"), (np.full((50, 60, 3), 7, np.uint16), "one value only")],
)
def test_a_raster_that_shows_nothing_is_one_line(predict, place, image, says):
    write(place / "empty.tif", image, nodata=0)
    done = predict("--boxes", "1,1,9,9", source="empty.tif")
    assert done.code == 2 and says in done.err.splitlines()[-1] and "Traceback" not in done.err


def test_an_output_that_cannot_be_written_is_one_line(predict, place):
    done = predict("--boxes", "1,1,9,9", output="scene.tif/found.gpkg")
    assert done.code == 2 and done.err.splitlines()[-1].startswith("error: ") and "Traceback" not in done.err


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs to mount a small disk")
def test_a_full_disk_is_one_line_and_the_run_goes_on_elsewhere(predict, place):
    disk = place / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("may not mount a small disk")
    try:
        done = predict("--boxes", place / "berths.gpkg", output="disk/found.gpkg")
        assert done.code == 2 and "Traceback" not in done.err and "error: " in done.err.splitlines()[-1]
        assert not (disk / "found.gpkg").exists()
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_town_is_drawn(insight, tmp_path):
    done = insight("data town", tmp_path / "town.tif", "--size", 500)
    assert done.code == 0 and (tmp_path / "town.tif").exists() and (tmp_path / "town_truth.gpkg").exists()
    assert "size: expected at least 500" in insight("data town", tmp_path / "a.tif", "--size", 10).err


def test_without_the_extra_it_is_one_line(place):
    code = "import sys; sys.modules['rasterio'] = None; from insight.cli.main import main; sys.exit(main(sys.argv[1:]))"
    words = ["predict", place / "scene.tif", "--boxes", "1,1,9,9", "--output", place / "a.gpkg"]
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 2 and "pip install 'insight-seg[geo]'" in done.stderr.splitlines()[-1]
