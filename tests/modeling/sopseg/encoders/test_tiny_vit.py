"""The ViT-T encoder against timm's TinyViT, which pads its windows."""

import pytest
import timm
import torch

from insight.modeling.sopseg.encoders import TinyViTEncoder

STAGE_OF_DOWNSAMPLE = {0: 1, 1: 2, 2: 3}  # timm puts the step to a stage at its start, MobileSAM at the end of the last


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
            parts[:2] = ["stages", str(STAGE_OF_DOWNSAMPLE[stage] if parts[2] == "downsample" else stage)]
        state[".".join("conv" if part == "c" else part for part in parts)] = tensor
    missing, unexpected = twin.load_state_dict(state, strict=False)
    assert not unexpected and all(name.startswith("head.") or "attention_bias_idxs" in name for name in missing)
    return twin


@pytest.fixture(scope="module")
def encoder(random_weights):
    return random_weights(TinyViTEncoder())


@pytest.mark.parametrize("height, width", [(64, 64), (128, 128), (256, 256), (448, 448), (256, 320)])
@torch.no_grad()
def test_equals_timm(encoder, error_between, height, width):
    images = torch.randn(1, 3, height, width)
    stages = timm_twin(encoder).forward_intermediates(images, intermediates_only=True)
    features = encoder(images)
    assert error_between(features.shallow, timm_twin(encoder).stages[2].downsample(stages[1])) < 1e-5
    assert error_between(features.embedding, encoder.neck(stages[3])) < 1e-5


@torch.no_grad()
def test_leaving_out_the_padding_is_exact(encoder, error_between):
    images = torch.randn(2, 3, 256, 256, dtype=torch.float64)
    double = TinyViTEncoder().double().eval()
    double.load_state_dict(encoder.state_dict())
    theirs = double.neck(timm_twin(encoder).double().forward_features(images))
    assert error_between(double(images).embedding, theirs) < 1e-12


def test_batch_statistics_are_never_used(encoder):
    images = torch.randn(2, 3, 64, 64)
    before = {name: tensor.clone() for name, tensor in encoder.named_buffers()}
    expected = encoder(images).embedding
    found = encoder.train()(images).embedding
    encoder.eval()
    assert torch.equal(found, expected)
    assert all(torch.equal(before[name], tensor) for name, tensor in encoder.named_buffers())


@torch.no_grad()
def test_no_images(encoder):
    assert encoder(torch.zeros(0, 3, 128, 128)).embedding.shape == (0, 256, 8, 8)
