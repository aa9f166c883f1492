"""Engines: a Ray cluster on this machine gives what one process gives, also when a worker is killed."""

import os
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip("rasterio")
pytest.importorskip("geopandas")

from helpers.bright import BrightDetector, drawn
from helpers.rasters import write

from insight.errors import InputError
from insight.geo.detect import TileDetection
from insight.geo.engines import run_jobs
from insight.geo.predict import predict_raster
from insight.geo.raster import Raster
from insight.geo.tiles import TileGrid


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    return write(tmp_path_factory.mktemp("scene") / "scene.tif", drawn((600, 700), 3, count=100))


class Kept(dict):
    add = dict.__setitem__


class Deadly(BrightDetector):
    """Kills the process that it is in, once."""

    def __init__(self, marker):
        super().__init__()
        self._marker = marker

    def detect(self):
        if not Path(self._marker).exists():
            Path(self._marker).write_text("dead")
            os.kill(os.getpid(), signal.SIGKILL)
        return super().detect()


def work_on(scene, detector):
    raster = Raster(scene)
    return TileDetection(raster, detector, TileGrid(raster.size, 256, 64))


def test_a_dead_worker_process_is_one_line_and_its_siblings_results_are_kept(scene, tmp_path):
    results = Kept()
    with pytest.raises(OSError, match="a worker process ended unexpectedly"):
        run_jobs(work_on(scene, Deadly(tmp_path / "marker")), results, workers=2)
    run_jobs(work_on(scene, Deadly(tmp_path / "marker")), results, workers=2)
    expected = Kept()
    run_jobs(work_on(scene, BrightDetector()), expected)
    assert results == expected


def test_a_failure_to_read_is_raised_and_what_was_computed_is_kept(scene):
    work, results = work_on(scene, BrightDetector()), Kept()
    read, bad = work.read, work.keys[5]

    def fails(key):
        if key == bad:
            time.sleep(0.5)
            raise OSError("cannot read")
        return read(key)

    work.read = fails
    with pytest.raises(OSError, match="cannot read"):
        run_jobs(work, results)
    assert set(results) == set(work.keys[:5])


def test_a_failure_to_keep_is_raised(scene):
    class Full(Kept):
        def add(self, key, result):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        run_jobs(work_on(scene, BrightDetector()), Full())


@pytest.fixture(scope="module")
def cluster():
    """Ray on this machine, with room for two workers."""
    ray = pytest.importorskip("ray")
    path = os.pathsep.join(map(str, (Path(__file__).parents[1], Path(__file__).parents[2])))
    ray.init(
        num_cpus=3,
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
        runtime_env={"env_vars": {"PYTHONPATH": path}},  # where the detector of these tests is
    )
    yield ray
    ray.shutdown()


@pytest.mark.slow
def test_ray_gives_what_one_process_gives(cluster, scene, tmp_path):
    options = {"tile_size": 256, "overlap": 64}
    predict_raster(scene, BrightDetector(), output=tmp_path / "here.gpkg", **options)
    predict_raster(scene, BrightDetector(), output=tmp_path / "ray.gpkg", engine="ray", workers=2, **options)
    assert (tmp_path / "here.gpkg").read_bytes() == (tmp_path / "ray.gpkg").read_bytes()


@pytest.mark.slow
def test_ray_replaces_a_worker_that_is_killed(cluster, scene, tmp_path):
    results, expected = Kept(), Kept()
    run_jobs(work_on(scene, Deadly(str(tmp_path / "marker"))), results, "ray", 2)
    run_jobs(work_on(scene, BrightDetector()), expected)
    assert (tmp_path / "marker").exists() and results == expected


@pytest.mark.slow
def test_more_workers_than_the_cluster_has_room_for_are_refused(cluster, scene):
    with pytest.raises(InputError, match="workers: expected fewer than the 3 cores"):
        run_jobs(work_on(scene, BrightDetector()), Kept(), "ray", 3)
