"""Drawn towns: the truth against the picture, and the same bytes every time."""

import numpy as np
import pytest

pytest.importorskip("rasterio")
pytest.importorskip("geopandas")

import geopandas
from rasterio.features import rasterize

from insight.errors import InputError
from insight.geo.raster import Raster
from insight.geo.town import BLOCK, truth_path, write_town


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    path = tmp_path_factory.mktemp("town") / "town.tif"
    return path, write_town(path, 1100, seed=4)


def test_every_object_lies_in_the_raster_and_is_whole_but_for_streets(town):
    path, count = town
    raster, truth = Raster(path), geopandas.read_file(truth_path(path))
    assert raster.size == (1100, 1100) and raster.gsd_m == 0.5 and raster.crs == truth.crs
    assert len(truth) == count > 100 and truth.is_valid.all()
    labels = rasterize(zip(truth.geometry, truth.instance_id), raster.size, transform=raster.transform, dtype=np.int32)
    pixels = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    np.testing.assert_allclose(truth.area / 0.25, pixels)  # they do not overlap
    for start in (BLOCK - 6, 2 * BLOCK - 6):
        assert not labels[start : start + 6].any() and not labels[:, start : start + 6].any()


def test_the_picture_shows_the_objects(town):
    """Objects differ from what is around them."""
    path, _ = town
    raster, truth = Raster(path), geopandas.read_file(truth_path(path))
    image = raster.read((0, 0, 1100, 1100)).astype(int)
    inside = rasterize(truth.geometry, raster.size, transform=raster.transform) > 0
    around = (rasterize(truth.buffer(2).geometry, raster.size, transform=raster.transform) > 0) & ~inside
    assert abs(image[inside].mean() - image[around].mean()) > 10


def test_the_same_seed_gives_the_same_bytes(town, tmp_path):
    path, count = town
    assert write_town(tmp_path / "town.tif", 1100, seed=4) == count
    for one, other in ((path, tmp_path / "town.tif"), (truth_path(path), truth_path(tmp_path / "town.tif"))):
        assert one.read_bytes() == other.read_bytes()
    write_town(tmp_path / "other.tif", 600, seed=5)
    assert (tmp_path / "other.tif").read_bytes() != path.read_bytes()


@pytest.mark.parametrize(("name", "size", "seed"), [("a.png", 1000, 0), ("a.tif", 100, 0), ("a.tif", 1000, -1)])
def test_impossible_towns_are_refused(tmp_path, name, size, seed):
    with pytest.raises(InputError, match="expected"):
        write_town(tmp_path / name, size, seed)
    assert not list(tmp_path.iterdir())
