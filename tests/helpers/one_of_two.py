"""What each process of a training in two does: a module, for processes import what they are to run."""

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
    """Train; OUTPUT_DIR/rank_R.pth keeps the parameters before and after, and which images this process saw."""
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
    """Ignore all signals that can be ignored, as a process inside a library does; FOLDER/PID says that it is so."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Path(folder, str(os.getpid())).touch()
    time.sleep(600)
