"""What each process of a training in two processes runs; a module, because spawned processes import it."""

import os
import signal
import time
from pathlib import Path

import torch
from detectron2.utils import comm

from insight.config import load_config
from insight.data.datasets import register_from_config
from insight.engine import Trainer


def train(config_file):
    """Train; OUTPUT_DIR/rank_R.pth gets the parameters before and after, and the images that this process saw."""
    cfg = load_config(config_file)
    register_from_config(cfg)
    trainer = Trainer(cfg)
    before, images = parameters(trainer), []
    trainer.model.register_forward_pre_hook(lambda _, inputs: images.extend(x["file_name"] for x in inputs[0]))
    trainer.train()
    result = {"before": before, "after": parameters(trainer), "images": images}
    torch.save(result, Path(cfg.OUTPUT_DIR, f"rank_{comm.get_rank()}.pth"))


def parameters(trainer):
    """Copies by name."""
    return {name: value.detach().clone() for name, value in trainer.model.module.named_parameters()}


def hang(folder):
    """Ignore SIGTERM and SIGINT, as a process inside a library may; FOLDER/PID is made once they are ignored."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Path(folder, str(os.getpid())).touch()
    time.sleep(600)
