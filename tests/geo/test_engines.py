"""Engines: a Ray cluster on this machine gives what one process gives, also when a worker is killed."""

import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("rasterio")
pytest.importorskip("geopandas")

from helpers.bright import BrightDetector, drawn
from helpers.rasters import write

from insight.geo.detect import TileDetection
from insight.geo.engines import check_engine, open_engine
from insight.geo.predict_many import predict_rasters
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


def run_jobs(work, results, *engine):
    with open_engine(*engine) as run:
        run(work, results)


def work_on(scene, detector):
    raster = Raster(scene)
    return TileDetection(raster, detector, TileGrid(raster.size, 256, 64))


def test_a_dead_worker_process_is_one_line_and_its_siblings_results_are_kept(scene, tmp_path):
    results = Kept()
    with pytest.raises(OSError, match="a worker process ended unexpectedly"):
        run_jobs(work_on(scene, Deadly(tmp_path / "marker")), results, "local", 2)
    run_jobs(work_on(scene, Deadly(tmp_path / "marker")), results, "local", 2)
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


def test_a_cluster_that_is_not_there_is_one_line(scene):
    """Before the first test of this file that starts one."""
    pytest.importorskip("ray")
    with pytest.raises(OSError, match="address: no Ray cluster at auto"):
        run_jobs(work_on(scene, BrightDetector()), Kept(), "ray", 1, "auto")


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_an_address_at_which_nothing_answers_is_told_before_a_model_is_loaded(form):
    pytest.importorskip("ray")
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = form.format(server.getsockname()[1])
        check_engine("ray", 1, address)
    with pytest.raises(OSError, match=f"address: no Ray cluster at {address}: .*refused"):
        check_engine("ray", 1, address)


@pytest.fixture(scope="module")
def cluster():
    """A Ray cluster on this machine: a node with room for one worker, to which others can be added."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_worker_niceness", "0")  # by default workers wait for everything else on the machine
    path = os.pathsep.join(map(str, (Path(__file__).parents[1], Path(__file__).parents[2])))
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": OBJECT_STORE})
    ray.init(
        address=nodes.address,
        log_to_driver=False,
        configure_logging=False,
        runtime_env={"env_vars": {"PYTHONPATH": path}},  # where the detectors of these tests are
    )
    yield nodes
    ray.shutdown()
    nodes.shutdown()
    patch.undo()


OBJECT_STORE = 2**27  # bytes


class Patient(BrightDetector):
    """Notes the node that it is on, and waits until it has run on two."""

    def __init__(self, notes):
        super().__init__()
        self._notes = Path(notes)

    def detect(self):
        import ray

        (self._notes / ray.get_runtime_context().get_node_id()).touch()
        for _ in range(1200):
            if len(list(self._notes.iterdir())) > 1:
                return super().detect()
            time.sleep(0.1)
        raise TimeoutError("no second node")


@pytest.mark.slow
def test_ray_uses_a_node_that_is_added_midway(cluster, scene, tmp_path):
    (notes := tmp_path / "nodes").mkdir()
    results, expected = Kept(), Kept()
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(run_jobs, work_on(scene, Patient(notes)), results, "ray", 2)
        while not (run.done() or list(notes.iterdir())):
            time.sleep(0.05)
        cluster.add_node(num_cpus=1, object_store_memory=OBJECT_STORE)  # which only the main thread can
        run.result()
    run_jobs(work_on(scene, BrightDetector()), expected)
    assert results == expected and len(list(notes.iterdir())) == 2


@pytest.mark.slow
def test_ray_gives_what_one_process_gives_for_many_scenes(cluster, scene, tmp_path):
    """Also when a worker is killed midway; of the pixels, none goes through the object store."""
    from ray._private.internal_api import memory_summary

    other = write(tmp_path / "other.tif", drawn((700, 600), 4, count=100))
    options = {"tile_size": 256, "overlap": 64}
    predict_rasters([scene, other], BrightDetector(), tmp_path / "here", **options)
    deadly = Deadly(str(tmp_path / "marker"))
    done = predict_rasters([scene, other], deadly, tmp_path / "ray", engine="ray", workers=2, **options)
    assert (tmp_path / "marker").exists() and len(done.written) == 2 and not done.failures
    for name in ("scene.gpkg", "other.gpkg"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "ray" / name).read_bytes()
    assert "Spilled" not in memory_summary(stats_only=True)


class Broken(BrightDetector):
    def detect(self):
        raise OSError("out of order")


class Lethal(BrightDetector):
    def detect(self):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("detector", "says"), [(Broken, "^out of order$"), (Lethal, "scene.tif: 1 workers of Ray died at tile ")]
)
def test_what_goes_wrong_on_ray_is_one_line(cluster, scene, monkeypatch, detector, says):
    monkeypatch.setattr("insight.geo.ray_engine._DEATHS", 1)  # each takes as long as a worker's start
    with pytest.raises(OSError, match=says) as caught:
        run_jobs(work_on(scene, detector()), Kept(), "ray", 1)
    assert "\n" not in str(caught.value)
