import pytest
import torch
from detectron2.modeling import build_model
from helpers.tiny import CONFIG

from insight.config import load_config


@pytest.fixture(scope="session")
def prompt_cfg():
    """Config of a tiny Mask R-CNN with both prompt modules."""
    cfg = load_config().clone()
    cfg.defrost()
    cfg.merge_from_other_cfg(type(cfg)(CONFIG))
    cfg.MODEL.META_ARCHITECTURE = "PromptRCNN"
    cfg.MODEL.PROMPT.LPM.ENABLED = cfg.MODEL.PROMPT.GPM.ENABLED = True
    cfg.MODEL.PROMPT.GPM.DIM = 32
    return cfg


@pytest.fixture(scope="session")
def prompt_model(prompt_cfg):
    """Its model, random but for prompts that matter (they start at zero)."""
    torch.manual_seed(0)
    model = build_model(prompt_cfg).eval()
    for name, parameter in model.named_parameters():
        if "fusion" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model
