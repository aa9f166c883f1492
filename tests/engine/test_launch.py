"""Several processes train one model."""

import multiprocessing
import os
import signal
import sys
import threading
import time

import pytest
import torch
import yaml
from helpers import one_of_two
from helpers.tiny import CONFIG, PROMPTS, PROMPTS_FILE, write_dataset

from insight.config import load_config
from insight.engine import launch
from insight.engine.launch import scaled_to_processes
from insight.errors import InputError


@pytest.mark.parametrize(
    "processes, expected", [(1, (2, 0.0025, 168_000)), (2, (4, 0.005, 84_000)), (8, (16, 0.02, 21_000))]
)
def test_the_batch_is_scaled_before_it_is_checked(processes, expected):
    cfg = load_config(["mask_rcnn_r50_fpn", "isaid"], ["SOLVER.REFERENCE_WORLD_SIZE", 2, "MODEL.DEVICE", "cpu"])
    solver = scaled_to_processes(cfg, processes).SOLVER
    assert pytest.approx(expected) == (solver.IMS_PER_BATCH, solver.BASE_LR, solver.MAX_ITER)


@pytest.mark.parametrize(
    "reference, processes, message",
    [
        (0, 8, "IMS_PER_BATCH is 4: expected a multiple of the 8 processes"),
        (3, 2, "REFERENCE_WORLD_SIZE is 3: expected 0 or a divisor of SOLVER.IMS_PER_BATCH, 4"),
    ],
)
def test_a_batch_that_cannot_be_divided_is_refused(reference, processes, message):
    cfg = load_config("mask_rcnn_r50_fpn", ["SOLVER.REFERENCE_WORLD_SIZE", reference, "MODEL.DEVICE", "cpu"])
    with pytest.raises(InputError, match=message):
        scaled_to_processes(cfg, processes)


@pytest.mark.slow
def test_two_processes_share_their_gradients(tmp_path, monkeypatch):
    """Each sees images of its own, so that their parameters would part at the first step."""
    config = {
        "_BASE_": str(PROMPTS_FILE),
        **CONFIG,
        "DATASETS": {
            "COCO": [["rectangles_of_two", *map(str, write_dataset(tmp_path / "rectangles"))]],
            "TRAIN": ["rectangles_of_two"],
            "TEST": [],
        },
        "MODEL": {**CONFIG["MODEL"], **PROMPTS},
        "SOLVER": {**CONFIG["SOLVER"], "MAX_ITER": 3, "WARMUP_ITERS": 0},
        "OUTPUT_DIR": str(tmp_path),
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", os.environ.get("CUDA_VISIBLE_DEVICES", ""))  # which launch empties
    launch(one_of_two.train, str(tmp_path / "config.yaml"), 2, on_cpu=True)
    one, two = (torch.load(tmp_path / f"rank_{rank}.pth", weights_only=True) for rank in (0, 1))
    assert len(one["images"]) == len(two["images"]) == 3 and not set(one["images"]) & set(two["images"])
    for name, value in one["after"].items():
        assert value.equal(two["after"][name]), name
    moved = [name for name, value in one["after"].items() if not value.equal(one["before"][name])]
    assert {name.split(".")[0] for name in moved} >= {"backbone", "proposal_generator", "roi_heads", "prompt_encoder"}


@pytest.mark.slow
def test_processes_that_hang_do_not_outlive_an_interrupted_run(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[launch.__module__], "_PATIENCE", 0.5)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", os.environ.get("CUDA_VISIBLE_DEVICES", ""))

    def interrupt():
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it is ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            launch(one_of_two.hang, str(tmp_path), 2, on_cpu=True)
    finally:
        signal.signal(signal.SIGINT, before)
    pids = [int(path.name) for path in tmp_path.iterdir()]
    for child in multiprocessing.active_children():
        child.join(10)
    assert len(pids) == 2 and not any(os.path.exists(f"/proc/{pid}") for pid in pids)
