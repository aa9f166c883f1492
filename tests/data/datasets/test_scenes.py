"""Rendering scenes to disk: exact, once, whole."""

import json
import multiprocessing
import os
import signal
import time

import cv2
import numpy as np
import pytest

pytest.importorskip("detectron2")

from detectron2.data import MetadataCatalog
from pycocotools import mask as coco_mask

from insight.data.datasets import scenes
from insight.data.datasets.coco import load_coco
from insight.data.datasets.root import data_root, render_root
from insight.data.datasets.scenes import Split, ensure_rendered
from insight.data.scenes import CATEGORIES, draw_scene

SPLIT = Split(6, 40, (96, 128))


def test_what_is_on_disk_is_what_was_drawn(tmp_path):
    folder = tmp_path / "scenes"
    ensure_rendered(folder, SPLIT)
    dicts, names, _ = load_coco(folder / "instances.json", folder / "images")
    assert tuple(names) == CATEGORIES and len(dicts) == 6
    stored = json.loads((folder / "instances.json").read_text())["annotations"]
    assert len({a["id"] for a in stored}) == len(stored)
    stored = iter(stored)
    for i, entry in enumerate(dicts):
        scene = draw_scene(40 + i, (96, 128))
        assert np.array_equal(cv2.imread(entry["file_name"])[:, :, ::-1], scene.image)
        for annotation, instance in zip(entry["annotations"], scene.instances, strict=True):
            codes = coco_mask.frPyObjects([[float(v) for v in p] for p in annotation["segmentation"]], 96, 128)
            assert np.array_equal(coco_mask.decode(coco_mask.merge(codes)), instance.full_mask((96, 128)))
            assert CATEGORIES[annotation["category_id"]] == instance.category
            assert annotation["bbox"] == list(instance.box)
            raw = next(stored)
            assert raw["area"] == instance.mask.sum()
            np.testing.assert_allclose(raw["oriented_box"], instance.oriented_box, atol=1e-3)


def test_a_second_time_draws_nothing(tmp_path):
    folder = tmp_path / "scenes"
    ensure_rendered(folder, SPLIT)
    before = (folder / "instances.json").stat().st_mtime_ns
    ensure_rendered(folder, SPLIT)
    assert (folder / "instances.json").stat().st_mtime_ns == before


def start(folder, split):
    """Render in another process, which leads a process group of its own."""

    def run():
        os.setsid()
        ensure_rendered(folder, split)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    return process


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_kill_leaves_nothing_under_the_final_name(tmp_path):
    folder = tmp_path / "scenes"
    process = start(folder, Split(3000, 40, (96, 128)))
    unfinished = tmp_path / ".scenes.part" / "images"
    deadline = time.monotonic() + 120
    while not (unfinished.is_dir() and len(os.listdir(unfinished)) > 4):
        assert process.is_alive() and time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.join()
    assert not folder.exists()
    ensure_rendered(folder, SPLIT)  # and the next run clears up
    assert not (tmp_path / ".scenes.part").exists()
    assert len(os.listdir(folder / "images")) == 6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_processes_that_ask_together_draw_once(tmp_path, monkeypatch):
    render, log = scenes._render, tmp_path / "log"

    def logged(*args):
        with open(log, "a") as file:
            file.write("drawn\n")
        time.sleep(0.5)  # long enough for the other to ask
        render(*args)

    monkeypatch.setattr(scenes, "_render", logged)
    processes = [start(tmp_path / "scenes", SPLIT) for _ in range(2)]
    for process in processes:
        process.join(timeout=240)
    assert [process.exitcode for process in processes] == [0, 0]
    assert log.read_text() == "drawn\n"
    assert len(os.listdir(tmp_path / "scenes" / "images")) == 6


def test_roots(tmp_path, monkeypatch):
    monkeypatch.setenv("INSIGHT_DATA", str(tmp_path))
    assert data_root() == render_root() == tmp_path
    monkeypatch.setenv("INSIGHT_DATA", str(tmp_path / "missing"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert render_root() == tmp_path / "cache" / "insight", "a root that cannot be written to"
    monkeypatch.delenv("INSIGHT_DATA")
    assert render_root() == tmp_path / "cache" / "insight", "a default root is never written to"


def test_registered_with_their_classes_before_anything_is_drawn():
    for name in ("scenes_train", "scenes_val"):
        assert MetadataCatalog.get(name).thing_classes == list(CATEGORIES)
