"""The ViT encoder against segment-anything's own, which pads its windows."""

import copy

import pytest
import torch

from insight.modeling.sopseg.encoders import ViTEncoder, build_encoder


@pytest.mark.parametrize("size", [128, 256, 384, 512, 1024])
@torch.no_grad()
def test_equals_segment_anything(model, twin_of, error_between, size):
    images = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(size))
    theirs = twin_of(model, size).image_encoder(images)
    assert error_between(model.image_encoder(images).embedding, theirs) < 1e-5


@torch.no_grad()
def test_leaving_out_the_padding_is_exact(double_model, twin_of, error_between):
    images = torch.randn(2, 3, 256, 256, dtype=torch.float64)
    theirs = twin_of(double_model, 256).image_encoder(images)
    assert error_between(double_model.image_encoder(images).embedding, theirs) < 1e-12


@torch.no_grad()
def test_shallow_feature_is_the_first_global_block(model, twin_of, error_between):
    images = torch.randn(1, 3, 192, 192)
    reference = twin_of(model, 192).image_encoder
    outputs = []
    reference.blocks[1].register_forward_hook(lambda module, args, output: outputs.append(output))
    reference(images)
    shallow = model.image_encoder(images).shallow
    assert error_between(shallow.permute(0, 2, 3, 1), outputs[0]) < 1e-5


@torch.no_grad()
def test_input_need_not_be_square(model, twin_of, error_between):
    images = torch.randn(2, 3, 192, 448)
    theirs = twin_of(model, (192, 448)).image_encoder(images)
    assert error_between(model.image_encoder(images).embedding, theirs) < 1e-5


def test_gradients_equal_segment_anything(double_model, twin_of, error_between):
    encoder = copy.deepcopy(double_model.image_encoder)
    reference = twin_of(double_model, 256).image_encoder
    images = torch.randn(1, 3, 256, 256, dtype=torch.float64)
    weight = torch.randn(1, 256, 16, 16, dtype=torch.float64)
    (encoder(images).embedding * weight).sum().backward()
    (reference(images) * weight).sum().backward()
    theirs = dict(reference.named_parameters())
    for name, parameter in encoder.named_parameters():
        if name != "pos_embed":  # theirs is the resized table
            assert error_between(parameter.grad, theirs[name].grad) < 1e-9, name


@torch.no_grad()
@pytest.mark.parametrize("change", [lambda p: p.mul_(2), lambda p: p.data.mul_(2), lambda p: setattr(p, "data", 2 * p)])
def test_tables_follow_the_weights(model, change):
    """What is kept between calls is dropped when the weights change, in whatever way."""
    encoder = copy.deepcopy(model.image_encoder)
    images = torch.randn(1, 3, 128, 128)
    before = encoder(images).embedding
    assert torch.equal(before, encoder(images).embedding)
    change(encoder.pos_embed)
    once = encoder(images).embedding
    change(encoder.blocks[1].attn.rel_pos_h)
    changed = encoder(images).embedding
    fresh = ViTEncoder(48, 4, 3, (1, 3)).eval()
    fresh.load_state_dict(encoder.state_dict())
    assert not torch.allclose(before, once) and not torch.allclose(once, changed)
    assert torch.equal(changed, fresh(images).embedding)


def test_tables_made_in_inference_mode_serve_training(model):
    encoder = copy.deepcopy(model.image_encoder).requires_grad_(False)
    encoder.blocks[-1].requires_grad_(True)
    images = torch.randn(1, 3, 128, 128)
    with torch.inference_mode():
        encoder(images)
    encoder(images).embedding.sum().backward()
    assert encoder.blocks[-1].attn.qkv.weight.grad.abs().max() > 0


@torch.no_grad()
def test_autocast_stays_close(model, error_between):
    images = torch.randn(1, 3, 256, 256)
    exact = model.image_encoder(images).embedding
    with torch.autocast("cpu", torch.bfloat16):
        approximate = model.image_encoder(images).embedding
    assert error_between(approximate.float(), exact) < 0.05


@torch.no_grad()
def test_no_images(model):
    features = model.image_encoder(torch.zeros(0, 3, 256, 256))
    assert features.embedding.shape == (0, 256, 16, 16)
    assert features.shallow.shape == (0, 48, 16, 16)


@pytest.mark.parametrize(
    "images, error, message",
    [
        (torch.zeros(1, 3, 200, 256), ValueError, "multiples of 64 up to 1024, got 200 x 256"),
        (torch.zeros(1, 3, 1088, 64), ValueError, "multiples of 64 up to 1024, got 1088 x 64"),
        (torch.zeros(1, 4, 256, 256), ValueError, r"expected shape \(B, 3, H, W\), got \(1, 4, 256, 256\)"),
        (torch.zeros(1, 3, 256, 256, dtype=torch.uint8), ValueError, "floating-point tensor.*got torch.uint8"),
    ],
)
def test_bad_images(model, images, error, message):
    with pytest.raises(error, match=message):
        model.image_encoder(images)


def test_unknown_encoder():
    with pytest.raises(ValueError, match="expected one of vit_t, vit_b, vit_l, vit_h, got 'vit_g'"):
        build_encoder("vit_g")
