"""Tiny model folders."""

from pathlib import Path

import torch

from helpers.tiny_sopseg import DEPTH, DIM, GLOBAL_BLOCKS, HEADS, randomise
from insight.hub.model_folder import ModelFolder, SOPSegArchitecture
from insight.hub.writing import write_model
from insight.modeling.sopseg import build_sopseg
from insight.modeling.sopseg.encoders import VIT_CONFIGS


def write_tiny_sopseg(folder: Path, monkeypatch, half: bool = True, seed: int = 0, **about):
    """Write a SOPSeg model folder; in this test, "vit_b" is small. Returns the folder and the model in float32."""
    monkeypatch.setitem(VIT_CONFIGS, "vit_b", (DIM, DEPTH, HEADS, GLOBAL_BLOCKS))
    torch.manual_seed(seed)  # for its buffers
    model = randomise(build_sopseg("vit_b", "sam"), seed)
    keys = SOPSegArchitecture(encoder="vit_b", decoder="sam", input_size=64, prompt="oriented_box")
    about = {"name": folder.name, "kind": "sopseg", "sha256": "", "architecture": keys} | about
    return write_model(ModelFolder(path=folder, **about), model.state_dict(), half), model


def write_tiny_detector(folder: Path, cfg, model, **about) -> ModelFolder:
    """Write the model folder of a detector and its config."""
    from insight.config import changed_keys

    config = {key: value for key, value in changed_keys(cfg).items() if key in ("MODEL", "INPUT", "TEST")}
    for place in ("WEIGHTS", "DEVICE"):
        config["MODEL"].pop(place, None)
    about = {"name": folder.name, "kind": "detector", "sha256": "", "config": config} | about
    return write_model(ModelFolder(path=folder, **about), model.state_dict())
