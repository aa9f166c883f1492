"""A small SAM in two implementations: ours, and segment-anything's with the same weights."""

import copy

import pytest
import timm
import torch
from helpers.tiny_sopseg import randomise, segment_anything_twin, small_sopseg

from insight.modeling.sopseg.encoders import TinyViTEncoder
from insight.modeling.sopseg.model import SOPSeg

TIMM_STAGE_OF_DOWNSAMPLE = {
    0: 1,
    1: 2,
    2: 3,
}  # timm puts the step to a stage at its start, MobileSAM at the end of the last


def timm_twin(encoder: TinyViTEncoder) -> torch.nn.Module:
    """timm's TinyViT-5M with the encoder's weights and MobileSAM's stride of 1 before the last stage."""
    twin = timm.create_model("tiny_vit_5m_224", pretrained=False, num_classes=0).eval()
    twin.stages[3].downsample.conv2.conv.stride = (1, 1)
    state = {}
    for name, tensor in encoder.state_dict().items():
        if name.startswith("neck."):
            continue
        parts = name.split(".")
        if parts[0] == "patch_embed":
            parts[1:3] = ["conv1" if parts[2] == "0" else "conv2"]
        else:
            stage = int(parts[1])
            parts[:2] = ["stages", str(TIMM_STAGE_OF_DOWNSAMPLE[stage] if parts[2] == "downsample" else stage)]
        state[".".join("conv" if part == "c" else part for part in parts)] = tensor
    missing, unexpected = twin.load_state_dict(state, strict=False)
    assert not unexpected and all(name.startswith("head.") or "attention_bias_idxs" in name for name in missing)
    return twin


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max())


@pytest.fixture(scope="session")
def model() -> SOPSeg:
    """SAM with a small ViT and random weights; do not change it."""
    return small_sopseg()


@pytest.fixture(scope="session")
def double_model(model) -> SOPSeg:
    """The same in float64; do not change it."""
    return copy.deepcopy(model).double()


@pytest.fixture(scope="session")
def twin_of():
    return segment_anything_twin


@pytest.fixture(scope="session")
def timm_twin_of():
    return timm_twin


@pytest.fixture(scope="session")
def random_weights():
    return randomise


@pytest.fixture(scope="session")
def error_between():
    return relative_error
