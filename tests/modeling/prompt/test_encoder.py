"""The parts of the prompt encoder, against independent computations."""

import pytest
import torch
import torch.nn.functional as F

from insight.modeling.prompt import GlobalToLocalPrompt, LocalPrompt, RegionPromptEncoder
from insight.modeling.prompt.local import SpectralFilter
from insight.modeling.prompt.positions import SinusoidalEmbedding

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


def test_boxes_become_fractions_and_sizes_at_full_resolution():
    context = make_encoder().encode_images([torch.zeros(3, 64, 32), torch.zeros(3, 10, 20)], [(64, 32), (100, 200)])
    boxes = [torch.tensor([[8.0, 16, 32, 64]]), torch.tensor([[50.0, 50, 100, 100], [0, 0, 200, 100]])]
    expected = torch.tensor([[0.25, 0.25, 1, 1], [0.25, 0.5, 0.5, 1], [0, 0, 1, 1]])
    assert torch.equal(context.relative(boxes), expected)
    sizes = torch.tensor([[24.0, 48], [5, 5], [20, 10]])
    torch.testing.assert_close(context.full_sizes(boxes), sizes)


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


def test_a_part_over_a_patch_has_the_position_of_the_patch():
    module = make_encoder().global_to_local
    torch.nn.init.normal_(module.positions)
    grid = (3, 5)
    box = torch.tensor([[1 / 5, 1 / 3, 3 / 5, 3 / 3]])  # of two patches in each direction
    parts = module._part_positions(box, torch.tensor([[5, 3]]))[0]
    patches = module._grid_positions(grid).view(3, 5, -1)[1:3, 1:3].flatten(0, 1)
    torch.testing.assert_close(parts, patches, atol=1e-4, rtol=1e-4)


def test_positions_are_of_the_size_of_the_content():
    encoder = make_encoder()
    module = encoder.global_to_local
    image = torch.randn(3, 256, 256) * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
    content = module._patches(image, (8, 8), encoder.pixel_mean, encoder.pixel_std)
    ratio = module._grid_positions((8, 8)).square().mean() / content.square().mean()
    assert 0.3 < ratio.sqrt() < 10  # they were a twentieth


def test_a_step_in_the_image_is_the_same_rotation_everywhere():
    """The likeness of two places depends on how far apart they are, in every head alike."""
    places = SinusoidalEmbedding(64, 2, shortest=4.0, longest=64.0)
    at = torch.tensor([[1.5, 2.5], [11.5, 7.5]])
    for head in (slice(0, 32), slice(32, 64)):
        same, step, far = (
            (places(at)[:, head] * places(at + torch.tensor(by))[:, head]).sum(1)
            for by in ([0.0, 0.0], [1.0, 0.0], [6.0, 6.0])
        )
        torch.testing.assert_close(step[0], step[1])
        torch.testing.assert_close(same, torch.full((2,), 16.0))
        assert step[0] < 15.5 and far[0] < step[0] - 2


def test_the_size_of_a_box_reaches_its_prompt():
    encoder = make_encoder()
    context = encoder.encode_images([torch.full((3, 128, 128), 90, dtype=torch.uint8)], [(128, 128)])
    boxes = torch.tensor([[60.0, 60, 68, 68], [56, 56, 72, 72]])  # about one centre, on a plain ground
    small, large = context.encode([boxes])[1].flatten(1)
    assert (small - large).square().mean() > 0.01


@pytest.mark.parametrize("size, tokens", [((64, 96), 6), ((65, 97), 12), ((20, 20), 1)])
def test_any_image_size_makes_tokens(size, tokens):
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    context = make_encoder().encode_images([image], [(10, 10)])  # the network's size does not matter
    assert [t.shape for t in context.global_tokens[0].loops] == [(tokens, 32)] * 2


@pytest.mark.parametrize("height, width", [(800, 800), (801, 800), (5000, 7000), (20, 10**6), (10**6, 20), (1, 1)])
def test_the_number_of_tokens_is_bounded(height, width):
    rows, columns = make_encoder().global_to_local.token_grid(height, width)
    assert rows >= 1 and columns >= 1 and rows * columns <= 625
    if height * width > 800 * 800 and max(height, width) < 10**6:
        assert rows * columns > 500 and rows / columns == pytest.approx(height / width, rel=0.1)


def test_a_whole_image_of_even_patches_is_not_resampled():
    encoder = make_encoder()
    module = encoder.global_to_local
    image = torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)
    pixels = (image - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    tokens = module.global_patches(F.gelu(module.global_cells(pixels[None]))).flatten(2).transpose(1, 2)
    tokens = tokens + module._grid_positions((2, 3))
    encoded = encoder.encode_images([image], [(64, 96)]).global_tokens[0]
    assert encoded.grid == (2, 3)
    for block, norm, ours in zip(module.global_blocks, module.global_norms, encoded.loops):
        tokens = block(tokens)
        torch.testing.assert_close(ours, norm(tokens)[0], atol=1e-4, rtol=1e-4)


def test_neither_tokens_nor_prompts_depend_on_the_other_images_of_a_batch():
    encoder = make_encoder().eval()
    sizes = [(64, 64), (96, 130), (64, 64)]
    images = [torch.randint(0, 256, (3, *size), dtype=torch.uint8) for size in sizes]
    boxes = [torch.tensor([[5.0, 6, 40, 50]]), torch.zeros(0, 4), torch.tensor([[5.0, 6, 40, 50], [0, 0, 64, 64]])]
    with torch.no_grad():
        together = encoder.encode_images(images, sizes)
        alone = [encoder.encode_images([image], [size]) for image, size in zip(images, sizes)]
        for ours, theirs in zip(together.global_tokens, alone):
            torch.testing.assert_close(ours, theirs.global_tokens[0], atol=1e-5, rtol=1e-4)
        each = [context.encode([own]) for context, own in zip(alone, boxes)]
        for prompts, *parts in zip(together.encode(boxes), *each):
            torch.testing.assert_close(prompts, torch.cat(parts), atol=1e-5, rtol=1e-4)


def test_the_backbones_features_reach_the_tokens_without_the_padding():
    torch.manual_seed(0)
    module = GlobalToLocalPrompt(3, 28, 32, 4, 2, 32, 14, feature_channels=8)
    encoder = RegionPromptEncoder(
        crop_size=28, pixel_mean=MEAN, pixel_std=STD, local=None, global_to_local=module, backbone_feature="p5"
    )
    images = [torch.zeros(3, 64, 96), torch.zeros(3, 128, 64)]
    feature = torch.randn(2, 8, 4, 4, requires_grad=True)  # of stride 32, padded to 128 x 128
    sizes = [(64, 96), (128, 64)]
    first, second = encoder.encode_images(images, sizes, feature, 32.0).global_tokens
    (first.loops[-1].sum() + second.loops[0][:, :3].sum()).backward()
    seen = feature.grad.abs().sum(1) > 0
    inside = torch.zeros(2, 4, 4, dtype=torch.bool)
    inside[0, :2, :3] = inside[1, :4, :2] = True
    assert torch.equal(seen, inside)
    other = encoder.encode_images(images, sizes, feature + 1.0 * torch.randn(2, 8, 4, 4), 32.0).global_tokens
    assert not torch.allclose(other[0].loops[0], first.loops[0], atol=1e-2)
    coarse = encoder.encode_images(images, sizes, feature[..., :2, :2], 64.0).global_tokens  # resized to the patches
    assert coarse[1].loops[0].shape == second.loops[0].shape


@pytest.fixture(params=[False, True], ids=["patches", "patches and the backbone's features"])
def scene_encoder(request):
    """An encoder whose GPM reads windows of 64 pixels, and the feature map of stride 32 of an image, or None."""
    torch.manual_seed(0)
    module = GlobalToLocalPrompt(3, 28, 32, 4, 2, 32, 14, feature_channels=8 * request.param, window=64)
    torch.nn.init.normal_(module.positions)
    name = "p5" if request.param else ""
    encoder = RegionPromptEncoder(
        crop_size=28, pixel_mean=MEAN, pixel_std=STD, local=None, global_to_local=module, backbone_feature=name
    )
    return encoder.eval()


def test_a_box_in_a_tile_has_the_prompt_of_its_window_alone(scene_encoder):
    image = torch.randint(0, 256, (3, 128, 160), dtype=torch.uint8)
    feature = torch.randn(1, 8, 4, 5) if scene_encoder.backbone_feature else None
    boxes = torch.tensor([[60.0, 30, 80, 62], [5, 6, 20, 25], [140, 100, 156, 120], [64, 34, 76, 50]])
    windows = [(32, 0, 96, 64), (0, 0, 64, 64), (96, 64, 160, 128), (32, 0, 96, 64)]
    with torch.no_grad():
        prompts = encoder_of_tile(scene_encoder, image, feature, (64, 32)).encode([boxes])[0]
        for box, (x0, y0, x1, y1), prompt in zip(boxes, windows, prompts):
            part = None if feature is None else feature[:, :, y0 // 32 : y1 // 32, x0 // 32 : x1 // 32]
            alone = scene_encoder.encode_images([image[:, y0:y1, x0:x1]], [(64, 64)], part, 32.0)
            moved = box - torch.tensor([x0, y0, x0, y0])
            torch.testing.assert_close(prompt, alone.encode([moved[None]])[0][0], atol=1e-5, rtol=1e-4)


def encoder_of_tile(encoder, image, feature, origin):
    return encoder.encode_images([image], [tuple(image.shape[1:])], feature, 32.0, [origin])


def test_a_box_has_the_same_prompt_in_every_tile_that_shows_its_window(scene_encoder):
    """Also at the border of the scene, where windows are smaller and have fewer tokens."""
    image = torch.randint(0, 256, (3, 128, 140), dtype=torch.uint8)
    feature = torch.randn(1, 8, 4, 5) if scene_encoder.backbone_feature else None
    box = torch.tensor([[100.0, 50, 110, 70], [120, 40, 138, 60], [96, 100, 110, 126]])
    prompts = []
    with torch.no_grad():
        for x, y in ((0, 0), (32, 0), (64, 32)):
            part = None if feature is None else feature[:, :, y // 32 :, x // 32 :]
            context = encoder_of_tile(scene_encoder, image[:, y:, x:], part, (x, y))
            prompts.append(context.encode([box - torch.tensor([x, y, x, y])])[0])
    for other in prompts[1:]:
        torch.testing.assert_close(other, prompts[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: LocalPrompt(3, 28, 8, 7, 4), "PATCH_SIZE 7 and STRIDE 4 do not fit"),
        (lambda: LocalPrompt(3, 28, 8, 7, 5), "PATCH_SIZE 7 and STRIDE 5 do not fit"),
        (lambda: GlobalToLocalPrompt(3, 28, 30, 4, 1, 32, 14), "DIM 30: expected a multiple of 4 NUM_HEADS, 16"),
        (lambda: GlobalToLocalPrompt(3, 28, 32, 4, 1, 30, 14), "GLOBAL_PATCH 30: expected a multiple of 4"),
        (lambda: GlobalToLocalPrompt(3, 28, 32, 4, 1, 32, 9), "LOCAL_PATCH 9 does not divide CROP_SIZE 28"),
        (
            lambda: RegionPromptEncoder(crop_size=28, pixel_mean=MEAN, pixel_std=STD, local=None, global_to_local=None),
            "expected a local, global-to-local or constant",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
