import geopandas
import numpy as np
import pytest
import rasterio
import torch
from affine import Affine

from insight.errors import InputError
from insight.geo.label_rasters import write_label_raster
from insight.inference import Prediction
from insight.structures.rle import RLEMasks

SIZE = (1300, 700)
ROTATED = Affine.translation(480_000, 5_700_000) @ Affine.rotation(20) @ Affine.scale(0.5, -0.5)


@pytest.fixture(scope="module")
def prediction():
    rng = np.random.default_rng(0)
    masks = np.zeros((40, *SIZE), bool)
    for mask in masks:
        y, x = rng.integers(0, 1200), rng.integers(0, 600)
        mask[y : y + 100, x : x + 100] = rng.random((100, 100)) < 0.8
    scores = torch.from_numpy(rng.integers(1, 9, 40) / 10).float()  # many are equal
    boxes = torch.tensor([[0.0, 0, 1, 1]]).repeat(40, 1)
    return Prediction(SIZE, boxes=boxes, scores=scores, masks=RLEMasks.from_bitmaps(torch.from_numpy(masks)))


def test_label_raster_equals_the_masks(tmp_path, prediction):
    expected, scores = np.zeros(SIZE, np.uint32), np.full(SIZE, np.nan, np.float32)
    masks = np.asarray(prediction.masks)
    for i in sorted(range(len(masks)), key=lambda i: (prediction.scores[i], -i)):
        expected[masks[i]], scores[masks[i]] = i + 1, prediction.scores[i]
    table = prediction.to_geodataframe(ROTATED, "EPSG:32631")
    for column, values in (("instance_id", expected), ("score", scores)):
        path = tmp_path / f"{column}.tif"
        write_label_raster(path, table, SIZE, ROTATED, "EPSG:32631", column)
        with rasterio.open(path) as raster:
            np.testing.assert_array_equal(raster.read(1), values)
            assert raster.crs.to_epsg() == 32631 and raster.transform.almost_equals(ROTATED)
            assert raster.overviews(1) and raster.block_shapes == [(512, 512)]
            assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["instance_id.tif", "score.tif"]
    before = path.read_bytes()
    write_label_raster(path, table, SIZE, ROTATED, "EPSG:32631", "score")
    assert path.read_bytes() == before


def test_without_objects_and_wrong_column(tmp_path, prediction):
    table = prediction.to_geodataframe(ROTATED, "EPSG:32631").iloc[:0]
    write_label_raster(tmp_path / "none.tif", table, SIZE, ROTATED, "EPSG:32631", "class_id")
    with rasterio.open(tmp_path / "none.tif") as raster:
        assert (raster.read(1) == -1).all() and raster.nodata == -1
    with pytest.raises(InputError, match="column: expected instance_id, class_id, score, got 'area'"):
        write_label_raster(tmp_path / "none.tif", geopandas.GeoDataFrame(), SIZE, ROTATED, None, "area")
