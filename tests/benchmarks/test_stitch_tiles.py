"""Tiles stitched into one scene: each keeps its pixels, and the truth is what no later object covers."""

import json

import numpy as np
import pytest

pytest.importorskip("rasterio")
pytest.importorskip("geopandas")

import geopandas
import rasterio
from helpers.tiny import SIZE, write_dataset
from PIL import Image
from rasterio.features import rasterize
from stitch_tiles import stitch

from insight.geo.town import truth_path


def test_the_scene_and_its_truth(tmp_path):
    annotations, images = write_dataset(tmp_path / "data", images=5)
    annotations.rename(tmp_path / "data" / "instances_train.json")
    images.rename(tmp_path / "data" / "train")
    content = json.loads((tmp_path / "data" / "instances_train.json").read_text())
    count = stitch(tmp_path / "data", "train", 2, 3, tmp_path / "scene.tif")
    with rasterio.open(tmp_path / "scene.tif") as file:
        pixels, transform = file.read().transpose(1, 2, 0), file.transform
    height, width = SIZE
    assert pixels.shape == (2 * height, 2 * width, 3)
    order = np.random.default_rng(3).permutation(5)[:4]
    expected = np.zeros(pixels.shape[:2], bool)
    for number, index in enumerate(order.tolist()):
        image = content["images"][index]
        place = np.s_[number // 2 * height :, number % 2 * width :]
        tile = np.asarray(Image.open(tmp_path / "data" / "train" / image["file_name"]))
        assert np.array_equal(pixels[place][:height, :width], tile)
        for annotation in content["annotations"]:
            if annotation["image_id"] == image["id"]:
                x, y, w, h = annotation["bbox"]
                expected[place][y : y + h, x : x + w] = True
    truth = geopandas.read_file(truth_path(tmp_path / "scene.tif"), layer="objects")
    assert len(truth) == count > 0
    painted = rasterize(((polygon, 1) for polygon in truth.geometry), expected.shape, transform=transform)
    assert np.array_equal(painted.astype(bool), expected)
    pixel = abs(transform.a * transform.e)
    assert truth.geometry.area.sum() == pytest.approx(expected.sum() * pixel)  # none covers another
