import datetime
import json

import geopandas
import pytest
import shapely
from affine import Affine

from insight.errors import InputError
from insight.geo.stac import write_stac_item

ROTATED = Affine.translation(480_000, 5_700_000) @ Affine.rotation(20) @ Affine.scale(0.5, -0.5)
TIME = datetime.datetime(2026, 5, 4, 12, 30)


def test_item_lies_where_its_scene_does(tmp_path):
    path = tmp_path / "found.json"
    assets = {"scene": tmp_path.parent / "scene.tif", "objects": tmp_path / "found.gpkg"}
    write_stac_item(path, assets, (4000, 6000), ROTATED, "EPSG:32631", TIME, {"insight:model": "light"})
    item = json.loads(path.read_text())
    corners = [ROTATED @ corner for corner in ((0, 0), (6000, 0), (6000, 4000), (0, 4000))]
    scene = geopandas.GeoSeries([shapely.Polygon(corners)], crs=32631).to_crs(4326)[0]
    footprint = shapely.geometry.shape(item["geometry"])
    assert footprint.exterior.is_ccw and footprint.symmetric_difference(scene).area < 1e-3 * scene.area
    assert item["bbox"] == pytest.approx(footprint.bounds) and item["type"] == "Feature" and item["id"] == "found"
    properties = item["properties"]
    assert properties["datetime"] == "2026-05-04T12:30:00Z" and properties["proj:code"] == "EPSG:32631"
    assert properties["proj:shape"] == [4000, 6000] and properties["insight:model"] == "light"
    assert item["assets"]["scene"] == {
        "href": "../scene.tif", "roles": ["source"], "type": "image/tiff; application=geotiff"
    }  # fmt: skip
    assert item["assets"]["objects"]["href"] == "./found.gpkg"


def test_scene_without_crs(tmp_path):
    with pytest.raises(InputError, match="stac: expected a scene with a CRS, got none"):
        write_stac_item(tmp_path / "found.json", {}, (10, 10), ROTATED, None, TIME)
