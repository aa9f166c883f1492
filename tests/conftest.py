"""What every test shares: skipping what this machine cannot run, with the reason."""

import os
from pathlib import Path

import pytest
import torch

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = REPOSITORY.parent / "shared" / "data"  # real images beside the repository
if SHARED.is_dir():  # before insight registers its datasets; not INSIGHT_DATA, into which scenes would be drawn
    os.environ.setdefault("DETECTRON2_DATASETS", str(SHARED))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images: INSIGHT_DATA, or shared/data beside the repository."""
    root = Path(os.environ.get("INSIGHT_DATA", SHARED))
    if not root.is_dir():
        pytest.skip(f"no real images at {root}; set INSIGHT_DATA")
    return root


@pytest.fixture(scope="session")
def prompt_cfg():
    """Config of a tiny Mask R-CNN with both prompt modules."""
    from helpers.tiny import CONFIG

    from insight.config import load_config

    cfg = load_config().clone()
    cfg.defrost()
    cfg.merge_from_other_cfg(type(cfg)(CONFIG))
    cfg.MODEL.META_ARCHITECTURE = "PromptRCNN"
    cfg.MODEL.PROMPT.LPM.ENABLED = cfg.MODEL.PROMPT.GPM.ENABLED = True
    cfg.MODEL.PROMPT.GPM.DIM = 32
    return cfg


@pytest.fixture(scope="session")
def prompt_model(prompt_cfg):
    """Its model, random but for prompts that matter (they start small)."""
    from detectron2.modeling import build_model

    torch.manual_seed(0)
    model = build_model(prompt_cfg).eval()
    for name, parameter in model.named_parameters():
        if "fusion" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))
