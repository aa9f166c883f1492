"""The parts of the prompt encoder, against independent computations."""

import pytest
import torch
import torch.nn.functional as F

from insight.modeling.prompt import GlobalToLocalPrompt, LocalPrompt, RegionPromptEncoder
from insight.modeling.prompt.local import SpectralFilter

MEAN, STD = [100.0, 110.0, 120.0], [50.0, 55.0, 60.0]


def make_encoder():
    torch.manual_seed(0)
    return RegionPromptEncoder(
        crop_size=28,
        pixel_mean=MEAN,
        pixel_std=STD,
        local=LocalPrompt(3, 28, 16, 8, 4),
        global_to_local=GlobalToLocalPrompt(3, 28, 32, 4, 2, 32, 14),
    )


def test_crops_are_the_full_resolution_pixels_of_the_box():
    encoder = make_encoder()
    images = [torch.randint(0, 256, (3, 200, 300), dtype=torch.uint8), torch.randint(0, 256, (3, 90, 80)).float()]
    context = encoder.encode_images(images, [(100, 150), (90, 80)])
    boxes = [torch.tensor([[10.0, 20, 24, 34], [100, 50, 128, 78]]), torch.tensor([[3.0, 4, 31, 32]])]
    crops = context.crops(boxes, 28, encoder.pixel_mean, encoder.pixel_std)
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    first, second, third = images[0][:, 40:68, 20:48], images[0][:, 100:156, 200:256], images[1][:, 4:32, 3:31]
    torch.testing.assert_close(crops[0], (first - mean) / std, atol=1e-4, rtol=0)
    torch.testing.assert_close(crops[2], (third - mean) / std, atol=1e-4, rtol=0)
    halved = F.interpolate(second[None].float(), (28, 28), mode="bilinear", antialias=True)[0]
    torch.testing.assert_close(crops[1], (halved - mean) / std, atol=1e-3, rtol=0)


def test_channels_last_changes_nothing():
    encoder = make_encoder()
    torch.nn.init.normal_(encoder.local.filter.scale)
    images = [torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)]
    boxes = [torch.tensor([[8.0, 16, 32, 64], [0, 0, 96, 64]])]
    before = encoder(encoder.encode_images(images, [(64, 96)]), boxes)
    encoder.to(memory_format=torch.channels_last)
    after = encoder(encoder.encode_images(images, [(64, 96)]), boxes)
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-4)


def test_boxes_become_fractions_and_know_their_image():
    context = make_encoder().encode_images([torch.zeros(3, 64, 32), torch.zeros(3, 10, 20)], [(64, 32), (100, 200)])
    boxes = [torch.tensor([[8.0, 16, 32, 64]]), torch.tensor([[50.0, 50, 100, 100], [0, 0, 200, 100]])]
    expected = torch.tensor([[0.25, 0.25, 1, 1], [0.25, 0.5, 0.5, 1], [0, 0, 1, 1]])
    assert torch.equal(context.relative(boxes), expected)
    assert context.image_index(boxes).tolist() == [0, 1, 1]


def test_the_spectral_filter_starts_as_the_identity():
    crops = torch.randn(2, 3, 28, 28)
    torch.testing.assert_close(SpectralFilter(3, 28)(crops), crops, atol=1e-5, rtol=0)


def test_the_spectral_filter_is_a_circular_convolution_plus_a_constant():
    layer = SpectralFilter(1, 28)
    kernel = torch.zeros(28, 28)
    kernel[0, 0], kernel[0, 1], kernel[5, 3] = 0.5, -2.0, 1.5
    constant = torch.randn(28, 28)
    with torch.no_grad():
        layer.scale.copy_(torch.view_as_real(torch.fft.rfft2(kernel) - 1)[None])
        layer.shift.copy_(torch.view_as_real(torch.fft.rfft2(constant, norm="ortho"))[None])
    crop = torch.randn(28, 28)
    expected = constant + sum(kernel[y, x] * torch.roll(crop, (y, x), (0, 1)) for y, x in kernel.nonzero().tolist())
    torch.testing.assert_close(layer(crop[None, None])[0, 0], expected, atol=1e-4, rtol=0)


def test_a_local_token_is_centred_on_its_bin():
    """A change of pixels inside the central 4 x 4 bin reaches the spatial token of that bin most directly."""
    module = LocalPrompt(1, 28, 8, 8, 4)
    with torch.no_grad():
        module.spatial_patches.weight.fill_(1.0)
        module.spatial_patches.bias.zero_()
    crop = torch.zeros(1, 1, 28, 28)
    crop[..., 12:16, 12:16] = 1  # the bin (3, 3)
    tokens = module.spatial_patches(crop)[0, 0]
    assert tokens.shape == (7, 7)
    row = tokens[3]
    assert row.argmax() == 3
    torch.testing.assert_close(row, row.flip(0))  # an uncentred grid would lean to one side
    torch.testing.assert_close(tokens, tokens.T)


def test_part_positions_are_read_off_the_images_table():
    module = make_encoder().global_to_local
    ramp = torch.linspace(0, 1, 51)[1::2]  # centres of 25 cells
    with torch.no_grad():
        module.global_positions.zero_()
        module.global_positions[0, 0] = ramp[None]  # x
        module.global_positions[0, 1] = ramp[:, None]  # y
    box = torch.tensor([[0.2, 0.3, 0.4, 0.7]])
    places = module._image_positions(box)[0, :, :2]
    expected = torch.tensor([[0.25, 0.4], [0.35, 0.4], [0.25, 0.6], [0.35, 0.6]])
    torch.testing.assert_close(places, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size, tokens", [((64, 96), 6), ((65, 97), 12), ((20, 20), 1)])
def test_any_image_size_makes_tokens(size, tokens):
    context = make_encoder().encode_images([torch.randint(0, 256, (3, *size), dtype=torch.uint8)], [size])
    assert [t.shape for t in context.global_tokens] == [(1, tokens, 32)] * 2


def test_a_whole_image_of_even_patches_is_not_resampled():
    encoder = make_encoder()
    module = encoder.global_to_local
    image = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)
    pixels = (image - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    tokens = module.global_patches(pixels[None])
    tokens = tokens + F.interpolate(module.global_positions, (2, 3), mode="bilinear", align_corners=False)
    tokens = tokens.flatten(2).transpose(1, 2)
    for block, norm, ours in zip(
        module.global_blocks, module.global_norms, encoder.encode_images([image], [(64, 96)]).global_tokens
    ):
        tokens = block(tokens)
        torch.testing.assert_close(ours, norm(tokens), atol=1e-4, rtol=1e-4)


def test_a_box_sees_only_its_own_image():
    encoder = make_encoder().eval()
    images = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in range(2)]
    box = torch.tensor([[5.0, 6, 40, 50]])
    with torch.no_grad():
        both = encoder.encode_images(images, [(64, 64)] * 2).encode([box, box])
        each = [encoder.encode_images([image], [(64, 64)]).encode([box]) for image in images]
    for prompts, first, second in zip(both, *each):
        torch.testing.assert_close(prompts, torch.cat([first, second]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: LocalPrompt(3, 28, 8, 7, 4), "PATCH_SIZE 7 and STRIDE 4 do not fit"),
        (lambda: LocalPrompt(3, 28, 8, 7, 5), "PATCH_SIZE 7 and STRIDE 5 do not fit"),
        (lambda: GlobalToLocalPrompt(3, 28, 30, 4, 1, 32, 14), "NUM_HEADS 4 does not divide DIM 30"),
        (lambda: GlobalToLocalPrompt(3, 28, 32, 4, 1, 32, 9), "LOCAL_PATCH 9 does not divide CROP_SIZE 28"),
        (
            lambda: RegionPromptEncoder(crop_size=28, pixel_mean=MEAN, pixel_std=STD, local=None, global_to_local=None),
            "expected a local or a global-to-local",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
