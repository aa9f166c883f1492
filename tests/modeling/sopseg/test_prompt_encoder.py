"""The prompt encoder against segment-anything's, at several input sizes."""

import copy

import pytest
import torch

from insight.modeling.sopseg.prompt_encoder import PromptEncoder
from insight.structures.oriented_boxes import oriented_corners
from insight.structures.prompts import oriented_prompts


def prompts(n, size):
    generator = torch.Generator().manual_seed(n)
    corners = torch.rand(n, 2, 2, generator=generator) * size
    boxes = torch.cat([corners.amin(1), corners.amax(1)], 1)
    points = torch.rand(n, 3, 2, generator=generator) * size
    labels = torch.tensor([1, 0, -1]).repeat(n, 1)
    return boxes, points, labels


@pytest.mark.parametrize("size", [128, 256, 1024])
@pytest.mark.parametrize("use_boxes, use_points", [(True, False), (False, True), (True, True)])
@torch.no_grad()
def test_equals_segment_anything(model, twin_of, size, use_boxes, use_points):
    boxes, points, labels = prompts(4, size)
    reference = twin_of(model, size).prompt_encoder
    theirs = reference((points, labels) if use_points else None, boxes if use_boxes else None, None)
    ours = model.prompt_encoder(
        (size, size), boxes if use_boxes else None, points if use_points else None, labels if use_points else None
    )
    for found, expected in zip(ours, theirs):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=2e-5)


@torch.no_grad()
def test_mask_prompts_equal_segment_anything(model, twin_of):
    boxes, _, _ = prompts(2, 256)
    masks = torch.randn(2, 1, 64, 64)
    theirs = twin_of(model, 256).prompt_encoder(None, boxes, masks)[1]
    torch.testing.assert_close(model.prompt_encoder((256, 256), boxes, masks=masks)[1], theirs, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_dense_position_encoding_equals_segment_anything(model, twin_of):
    theirs = twin_of(model, 384).prompt_encoder.get_dense_pe()
    torch.testing.assert_close(model.prompt_encoder.dense_position_encoding((384, 384)), theirs, rtol=1e-5, atol=2e-5)


@torch.no_grad()
def test_positions_keep_their_precision_under_autocast(model):
    """bfloat16 tells positions of one pixel in 1024 apart no more; the encoding must."""
    boxes, points, labels = prompts(2, 1024)
    exact, _ = model.prompt_encoder((1024, 1024), boxes, points, labels)
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = model.prompt_encoder((1024, 1024), boxes, points, labels)
    assert torch.equal(found, exact)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_positions_keep_their_precision_in_a_model_of_half_precision(dtype):
    encoder = PromptEncoder()
    twin = copy.deepcopy(encoder).to(dtype)
    assert twin.no_mask_embed.weight.dtype == dtype
    matrix = "pe_layer.positional_encoding_gaussian_matrix"
    assert torch.equal(twin.state_dict()[matrix], encoder.state_dict()[matrix])
    for size in ((256, 256), (1024, 768)):
        assert torch.equal(twin.dense_position_encoding(size), encoder.dense_position_encoding(size))
    points = torch.tensor([[[1000.0, 3.0], [1001.0, 3.0]]])
    assert torch.equal(twin.pe_layer(points, (1024, 1024)), encoder.pe_layer(points, (1024, 1024)))
    assert PromptEncoder().to("meta").pe_layer.positional_encoding_gaussian_matrix.is_meta


@torch.no_grad()
def test_positions_follow_the_matrix():
    """Also where it is written to behind autograd's back."""
    encoder = PromptEncoder()
    before = encoder.dense_position_encoding((128, 128))
    assert encoder.dense_position_encoding((128, 128)) is not None
    encoder.pe_layer.positional_encoding_gaussian_matrix.data.mul_(2)
    after = encoder.dense_position_encoding((128, 128))
    fresh = PromptEncoder()
    fresh.load_state_dict(encoder.state_dict())
    assert torch.equal(after, fresh.dense_position_encoding((128, 128))) and not torch.equal(after, before)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({}, "give boxes, points with labels, or both"),
        ({"boxes": torch.zeros(2, 5)}, r"boxes: expected shape \(N, 4\), got \(2, 5\)"),
        ({"points": torch.zeros(2, 2), "labels": torch.ones(2)}, r"points: expected shape \(N, P, 2\), got \(2, 2\)"),
        ({"points": torch.zeros(2, 1, 2)}, r"labels: expected shape \(2, 1\), one for each point, got none"),
        (
            {"boxes": torch.zeros(3, 4), "points": torch.zeros(2, 1, 2), "labels": torch.ones(2, 1)},
            "points: expected those of 3 prompts as boxes, got 2",
        ),
    ],
)
def test_bad_prompts(arguments, message):
    with pytest.raises(ValueError, match=message):
        PromptEncoder()((256, 256), **arguments)


@torch.no_grad()
def test_an_angle_token_embeds_the_box_rotated_to_horizontal():
    encoder = PromptEncoder()
    state = set(encoder.state_dict())
    corners = oriented_corners([[60, 50, 40, 16, -30], [30, 90, 10, 24, 10]])
    prompts = oriented_prompts(corners)
    as_points = encoder((128, 128), *prompts)[0]
    encoder.add_angle_token()
    assert set(encoder.state_dict()) - state == {"angle_embed.weight"}
    users = prompts._replace(corners=None)  # points that a user clicked stay points
    torch.testing.assert_close(encoder((128, 128), *users)[0], as_points)
    tokens = encoder((128, 128), *prompts)[0]
    assert tokens.shape == (2, 3, 256)
    # The first box is 40 wide and rotated clockwise; the second's axis is its height, 80 degrees from the x axis.
    upright = torch.tensor([[40.0, 42, 80, 58], [18, 85, 42, 95]])
    torch.testing.assert_close(tokens[:, :2], encoder((128, 128), upright)[0], atol=1e-3, rtol=0)
    angle = torch.deg2rad(torch.tensor([30.0, 80.0]))
    to_sine, to_cosine = encoder.pe_layer.positional_encoding_gaussian_matrix
    phase = 2 * torch.pi * (angle.sin()[:, None] * to_sine + angle.cos()[:, None] * to_cosine)
    expected = torch.cat([phase.sin(), phase.cos()], 1) + encoder.angle_embed.weight
    torch.testing.assert_close(tokens[:, 2], expected, atol=1e-3, rtol=0)
