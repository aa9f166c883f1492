"""The ViT-T encoder against timm's TinyViT, which pads its windows."""

import copy

import pytest
import torch

from insight.modeling.sopseg.encoders import TinyViTEncoder


@pytest.fixture(scope="module")
def encoder(random_weights):
    return random_weights(TinyViTEncoder())


@pytest.mark.parametrize("height, width", [(64, 64), (128, 128), (256, 256), (448, 448), (256, 320)])
@torch.no_grad()
def test_equals_timm(encoder, timm_twin_of, error_between, height, width):
    images = torch.randn(1, 3, height, width)
    twin = timm_twin_of(encoder)
    stages = twin.forward_intermediates(images, intermediates_only=True)
    features = encoder(images)
    assert error_between(features.shallow, twin.stages[2].downsample(stages[1])) < 1e-5
    assert error_between(features.embedding, encoder.neck(stages[3])) < 1e-5


@torch.no_grad()
def test_leaving_out_the_padding_is_exact(encoder, timm_twin_of, error_between):
    images = torch.randn(2, 3, 256, 256, dtype=torch.float64)
    double = TinyViTEncoder().double().eval()
    double.load_state_dict(encoder.state_dict())
    theirs = double.neck(timm_twin_of(encoder).double().forward_features(images))
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
def test_biases_follow_the_weights(encoder):
    encoder, images = copy.deepcopy(encoder), torch.randn(1, 3, 64, 64)
    before = encoder(images).embedding
    for block in encoder.layers[2].blocks:
        block.attn.attention_biases.data.mul_(2)
    changed = encoder(images).embedding
    fresh = TinyViTEncoder().eval()
    fresh.load_state_dict(encoder.state_dict())
    assert torch.equal(changed, fresh(images).embedding) and not torch.equal(changed, before)


@torch.no_grad()
def test_no_images(encoder):
    assert encoder(torch.zeros(0, 3, 128, 128)).embedding.shape == (0, 256, 8, 8)
