"""Vector layers as annotations of images."""

import pytest

pytest.importorskip("rasterio")
pytest.importorskip("geopandas")

import geopandas
import numpy as np
import shapely
from affine import Affine
from helpers.rasters import write

from insight.geo.datasets import read_vector_boxes


def test_rows_without_a_class_are_objects(tmp_path):
    image = write(tmp_path / "a.tif", np.zeros((40, 60, 3), np.uint8), transform=Affine(1, 0, 5e5, 0, -1, 5e6))
    boxes = [shapely.box(500_000 + x, 4_999_970, 500_010 + x, 4_999_990) for x in (0, 20, 40)]
    table = geopandas.GeoDataFrame({"class_name": ["ship", None, "nan"]}, geometry=boxes, crs="EPSG:32632")
    table.to_file(tmp_path / "boxes.gpkg")
    content = read_vector_boxes(tmp_path / "boxes.gpkg", image)
    names = {category["id"]: category["name"] for category in content["categories"]}
    assert [names[one["category_id"]] for one in content["annotations"]] == ["ship", "object", "nan"]
