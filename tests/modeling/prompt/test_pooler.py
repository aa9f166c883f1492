"""Prompts added to RoI features, against convolution, interpolation and addition."""

import pytest
import torch
import torch.nn.functional as F

from insight.modeling.prompt.pooler import add_projected


def random(*shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("grid", [(7, 7), (2, 2), (3, 5)])  # as it is, projected first, resized first
@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("channels_last", [True, False])
def test_equals_convolving_resizing_and_adding(grid, gradients, channels_last):
    feature, prompt, weight = random(5, 6, 7, 7, seed=0), random(5, 16, *grid, seed=1), random(6, 16, seed=2)
    if channels_last:
        feature = feature.contiguous(memory_format=torch.channels_last)
    projected = F.interpolate(F.conv2d(prompt, weight[..., None, None]), (7, 7), mode="bilinear", align_corners=False)
    expected = feature + projected
    with torch.set_grad_enabled(gradients):
        actual = add_projected(feature, weight.requires_grad_(gradients), prompt)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)
    if gradients:
        actual.sum().backward()
        assert weight.grad.abs().sum() > 0


@pytest.mark.parametrize("grid", [(7, 7), (2, 2), (3, 5)])
def test_the_feature_is_kept_for_its_gradient_and_reused_without(grid):
    prompt, weight = random(5, 16, *grid, seed=1), random(6, 16, seed=2)
    feature = random(5, 6, 7, 7, seed=0)
    before = feature.clone()
    add_projected(feature, weight, prompt)
    assert torch.equal(feature, before)
    with torch.no_grad():
        assert add_projected(feature, weight, prompt).data_ptr() == feature.data_ptr()
    assert not torch.equal(feature, before)


@pytest.mark.parametrize("grid", [(7, 7), (2, 2), (3, 5)])
def test_mixed_precision(grid):
    prompt, weight, feature = random(5, 16, *grid, seed=1), random(6, 16, seed=2), random(5, 6, 7, 7, seed=0)
    with torch.no_grad():
        expected = add_projected(feature.clone(), weight, prompt)
        with torch.autocast("cpu", torch.bfloat16):
            actual = add_projected(feature, weight, prompt.bfloat16())
    torch.testing.assert_close(actual.float(), expected, atol=0.1, rtol=0.05)
