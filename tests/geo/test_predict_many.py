"""Prediction on many rasters: what one raster after the other gives, and nothing made twice."""

import json
from pathlib import Path

import pytest

pytest.importorskip("rasterio")
pytest.importorskip("geopandas")

import geopandas
import numpy as np
import pandas
import rasterio
from affine import Affine
from helpers.bright import BrightDetector, drawn
from helpers.rasters import write
from helpers.tiny_sopseg import small_sopseg

from insight.errors import InputError
from insight.geo.options import RasterOptions
from insight.geo.predict import predict_raster
from insight.geo.predict_many import check_rasters, output_names, predict_rasters
from insight.inference.sopseg_predictor import SOPSegPredictor


@pytest.fixture
def scenes(tmp_path):
    """Rasters of several CRSs, one of which is cut off."""
    (tmp_path / "scenes").mkdir()
    paths = [tmp_path / "scenes" / f"{name}.tif" for name in "abc"]
    write(paths[0], drawn((300, 400), 1, count=30))
    write(paths[1], drawn((300, 300), 2, count=30), crs="EPSG:32633")
    write(paths[2], drawn((300, 300), 3, count=30), crs=None, transform=Affine.identity())
    cut = tmp_path / "scenes" / "cut.tif"
    cut.write_bytes(paths[0].read_bytes()[:50_000])
    return [*paths, cut]


def test_a_file_beside_the_result_that_cannot_be_written_is_told_before_objects_are_found(scenes, tmp_path):
    done = predict_rasters([scenes[2]], BrightDetector(), tmp_path / "found", tile_size=256, also=["stac"])
    assert "stac: expected a scene with a CRS, got none" in done.failures[scenes[2]] and not done.written
    assert not list((tmp_path / "found").glob("*.gpkg"))


def test_every_raster_gets_the_file_that_it_gets_alone(scenes, tmp_path):
    done = predict_rasters(scenes, BrightDetector(), tmp_path / "found", tile_size=256, suffix=".fgb")
    outputs = [tmp_path / "found" / f"{name}.fgb" for name in "abc"]
    assert done.written == outputs and not done.already and not done.elsewhere
    assert list(done.failures) == [scenes[3]] and "cut.tif: it is truncated" in done.failures[scenes[3]]
    for scene, output, epsg in zip(scenes, outputs, (32632, 32633, None)):
        predict_raster(scene, BrightDetector(), tile_size=256, output=tmp_path / "alone.fgb")
        assert output.read_bytes() == (tmp_path / "alone.fgb").read_bytes()
        crs = geopandas.read_file(output).crs
        assert (crs and crs.to_epsg()) == epsg


def test_what_is_whole_is_not_made_again(scenes, tmp_path):
    found = tmp_path / "found"
    first = predict_rasters(scenes[:2], BrightDetector(), found, tile_size=256)
    (found / "b.gpkg").unlink()
    before = (found / "a.gpkg").stat().st_mtime_ns
    again = predict_rasters(scenes[:3], BrightDetector(), found, tile_size=256)
    assert again.already == first.written[:1] and [path.name for path in again.written] == ["b.gpkg", "c.gpkg"]
    assert (found / "a.gpkg").stat().st_mtime_ns == before
    write(scenes[0], drawn((300, 400), 4, count=30))  # another scene of this name
    assert [path.name for path in predict_rasters(scenes[:2], BrightDetector(), found, tile_size=256).written] == [
        "a.gpkg"
    ]
    assert len(predict_rasters(scenes[:2], BrightDetector(), found, tile_size=384).written) == 2
    assert len(predict_rasters(scenes[:2], BrightDetector(), found, tile_size=384, simplify=1).written) == 2


def test_a_layer_on_none_of_the_rasters_is_refused(scenes, tmp_path):
    (tmp_path / "far.csv").write_text("wkt\nSRID=32632;POINT (0 0)\n")
    with pytest.raises(InputError, match="lies elsewhere"):
        predict_rasters(scenes[:2], BrightDetector(), tmp_path / "found", prompts=tmp_path / "far.csv")


def test_one_raster_to_which_the_options_apply_is_enough(scenes, tmp_path, caplog):
    a, b, c, _ = scenes
    none = tmp_path / "none.tif"
    none.write_text("no raster")
    check_rasters([none, c, b], RasterOptions(bands="1"))
    assert not caplog.text
    with pytest.raises(InputError, match="none.tif: it is truncated.*; none of the 2 rasters can be used"):
        check_rasters([none, none], RasterOptions())
    with pytest.raises(InputError, match=r"bands: expected the number 1, as .*a.tif has them, got '4'$"):
        check_rasters([a], RasterOptions(bands="4"))
    far = tmp_path / "far.csv"
    far.write_text("wkt\nSRID=32632;POINT (0 0)\n")
    with pytest.raises(InputError, match="lies elsewhere.*none of the 2 rasters"):
        check_rasters([a, b], RasterOptions(prompts=far))
    with pytest.raises(InputError, match="it is truncated"):  # rather than that the layer lies elsewhere
        check_rasters([a, none], RasterOptions(prompts=far))
    with pytest.raises(InputError, match="stac: expected a scene with a CRS"):
        check_rasters([c], RasterOptions(), ["stac"])


def test_rasters_of_the_same_name_get_files_of_their_own(tmp_path):
    a, b, c = (Path(name) for name in ("x/port.tif", "y/port.tif", "x/sea.tif"))
    assert output_names([a, c], tmp_path, ".gpkg") == {a: tmp_path / "port.gpkg", c: tmp_path / "sea.gpkg"}
    assert output_names([a, b], tmp_path, ".gpkg") == {a: tmp_path / "x/port.gpkg", b: tmp_path / "y/port.gpkg"}
    d = Path("x/port.jp2")
    assert output_names([a, d], tmp_path, ".gpkg") == {a: tmp_path / "port.tif.gpkg", d: tmp_path / "port.jp2.gpkg"}
    with pytest.raises(InputError, match="is given twice"):
        output_names([a, a], tmp_path, ".gpkg")


def test_an_unknown_suffix_is_refused(scenes, tmp_path):
    with pytest.raises(InputError, match="suffix: expected one of .gpkg, "):
        predict_rasters(scenes, BrightDetector(), tmp_path / "found", suffix=".txt")


def test_an_unfinished_raster_goes_on(scenes, tmp_path):
    class Stopping(BrightDetector):
        def detect(self):
            if self._tiles > 3:
                raise OSError("stopped")
            return super().detect()

    Stopping.__name__ = "BrightDetector"
    done = predict_rasters(scenes[:2], Stopping(), tmp_path / "found", tile_size=128, overlap=32)
    assert "stopped" in done.failures[scenes[0]] and (tmp_path / "found" / "a.gpkg.unfinished").exists()
    rest, whole = BrightDetector(), BrightDetector()
    predict_rasters(scenes[:1], rest, tmp_path / "found", tile_size=128, overlap=32)
    predict_rasters(scenes[:1], whole, tmp_path / "other", tile_size=128, overlap=32)
    assert rest._tiles == whole._tiles - 3
    assert (tmp_path / "found" / "a.gpkg").read_bytes() == (tmp_path / "other" / "a.gpkg").read_bytes()


def test_files_beside_a_whole_result_are_made_where_they_are_missing(scenes, tmp_path):
    found, first = tmp_path / "found", [scenes[0]]
    predict_rasters(first, BrightDetector(), found, tile_size=256)
    done = predict_rasters(first, BrightDetector(), found, tile_size=256, also=["labels", "stac"])
    labels, item = found / "a_labels.tif", found / "a.stac.json"
    assert done.already == [found / "a.gpkg"] and done.written == [labels, item]
    with rasterio.open(labels) as raster:
        assert len(np.unique(raster.read(1))) - 1 == len(geopandas.read_file(found / "a.gpkg", layer="objects"))
    assert predict_rasters(first, BrightDetector(), found, tile_size=256, also=["labels", "stac"]).written == []
    item.unlink()  # as a kill between the two files leaves it
    predict_rasters(first, BrightDetector(), found, tile_size=256, also=["labels", "stac"])
    assert {*json.loads(item.read_text())["assets"]} == {"scene", "objects", "labels"}


def test_classes_of_prompts_that_were_changed_make_the_result_again(scenes, tmp_path):
    found, sopseg = tmp_path / "found", SOPSegPredictor(small_sopseg(), input_size=64)
    for name in ("ship", "tank"):
        attributes = pandas.DataFrame({"class_name": [name]})
        done = predict_rasters(scenes[:1], sopseg, found, boxes=[[20, 20, 60, 50]], attributes=attributes)
        assert len(done.written) == 1 and not done.already
        assert list(geopandas.read_file(found / "a.gpkg", layer="objects").class_name) == [name]
