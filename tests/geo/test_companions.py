import datetime
import json
import os

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine

from insight.errors import InputError
from insight.geo.companions import parse_companions, taken_at, write_companions
from insight.geo.features import feature_table
from insight.geo.raster import Raster
from insight.geo.writers import write_layer

TRANSFORM = Affine(0.5, 0, 480_000, 0, -0.5, 5_700_000)


@pytest.fixture
def scene(tmp_path):
    path = tmp_path / "scene.tif"
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint8", "height": 40, "width": 60}
    with rasterio.open(path, "w", crs="EPSG:32631", transform=TRANSFORM, **profile) as raster:
        raster.write(np.full((1, 40, 60), 9, np.uint8))
        raster.update_tags(TIFFTAG_DATETIME="2024:05:06 07:08:09")
    return path


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".shp"])
def test_companions_lie_on_the_scene(scene, tmp_path, suffix):
    box = shapely.box(*(TRANSFORM @ (10, 30)), *(TRANSFORM @ (20, 5)))
    table = feature_table([box], 32631, class_ids=[0], categories=["ship"], scores=[0.75], instance_ids=[7])
    write_layer(tmp_path / f"found{suffix}", table)
    files = write_companions(tmp_path / f"found{suffix}", Raster(scene), ["labels", "scores", "stac"])
    assert [file.name for file in files] == ["found_labels.tif", "found_scores.tif", "found.stac.json"]
    expected = np.zeros((40, 60))
    expected[5:30, 10:20] = 7
    with rasterio.open(files[0]) as labels, rasterio.open(files[1]) as scores:
        np.testing.assert_array_equal(labels.read(1), expected)
        np.testing.assert_array_equal(np.nan_to_num(scores.read(1)), expected / 7 * 0.75)
    item = json.loads(files[2].read_text())
    assert {*item["assets"]} == {"scene", "objects", "labels", "scores"}
    assert item["properties"]["datetime"] == "2024-05-06T07:08:09Z"


def test_names():
    assert parse_companions("") == [] and parse_companions("stac, labels,stac") == ["stac", "labels"]
    with pytest.raises(InputError, match="also: unknown name 'cog'; expected labels, scores, stac"):
        parse_companions("cog")


def test_time_of_a_scene_that_states_none(scene, caplog):
    assert taken_at(scene) == datetime.datetime(2024, 5, 6, 7, 8, 9)
    with rasterio.open(scene, "r+") as raster:
        raster.update_tags(TIFFTAG_DATETIME="yesterday")
    os.utime(scene, (0, 1_000_000_000))
    assert taken_at(scene) == datetime.datetime(2001, 9, 9, 1, 46, 40, tzinfo=datetime.UTC)
    assert caplog.messages == [
        f"{scene}: does not say when it was taken; the STAC item has the time of its last change"
    ]
