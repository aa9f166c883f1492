"""crop_resize: kernels, fallback and reference against torch's interpolate, grid_sample and the definition."""

import itertools
import math
import sys
import time

import pytest
import torch
import torch.nn.functional as F
from harness import peak_memory
from helpers.crop_resize import DEVICES, TOLERANCE, needs_library, random_images
from hypothesis import given, settings
from hypothesis import strategies as st

from insight import ops


@pytest.fixture(
    params=[
        pytest.param(("avx512", "cpu"), id="compiled-cpu", marks=needs_library),
        pytest.param(("avx2", "cpu"), id="compiled-cpu-avx2", marks=needs_library),
        pytest.param(("default", "cpu"), id="compiled-cpu-plain", marks=needs_library),
        pytest.param((None, "cuda"), id="compiled-cuda", marks=[needs_library, pytest.mark.gpu]),
        pytest.param((None, "cuda on host"), id="cuda-on-host", marks=needs_library),
        pytest.param((None, "fallback"), id="fallback-cpu"),
        pytest.param(("reference", "cpu"), id="reference-cpu"),
    ]
)
def implementation(request, monkeypatch, device_of):
    """The function under test and its device; on the CPU once for each instruction set that it can choose."""
    kind, device = request.param
    if kind == "reference":
        return ops.reference.crop_resize, torch.device(device)
    if kind is not None:
        monkeypatch.setenv("ATEN_CPU_CAPABILITY", kind)
    return ops.crop_resize, device_of(device)


def interpolated(images, box, size, antialias, image=0):
    """The reference: torch's interpolate, in double, on the crop. The box is integer and inside."""
    x1, y1, x2, y2 = box
    crop = images[image : image + 1, :, y1:y2, x1:x2].double()
    return F.interpolate(crop, size=size, mode="bilinear", antialias=antialias, align_corners=False)


def assert_equal_within(actual, expected, dtype):
    assert actual.dtype == (torch.float32 if dtype == torch.uint8 else dtype)
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(actual.cpu().double(), expected, atol=tolerance, rtol=tolerance)


BOXES = [(0, 0, 80, 60), (10, 5, 40, 50), (10, 5, 12, 8), (79, 59, 80, 60), (3, 3, 70, 9), (1, 0, 29, 28)]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("size", [(28, 28), (7, 5), (1, 1), (33, 100), (3, 600), (70, 2)])
def test_equals_interpolate_of_the_crop(implementation, size, antialias, dtype):
    function, device = implementation
    images = random_images((2, 3, 60, 80), dtype)
    expected = torch.cat([interpolated(images, box, size, antialias, image=1) for box in BOXES])
    boxes = torch.tensor(BOXES, dtype=torch.float32, device=device)
    image_index = torch.ones(len(BOXES), dtype=torch.int64, device=device)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        given_images = images.to(device).contiguous(memory_format=memory_format)
        actual = function(given_images, boxes, size, image_index=image_index, antialias=antialias)
        assert actual.is_contiguous()
        assert_equal_within(actual, expected, dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_bilinear_outputs_near_together_and_far_apart(implementation, dtype):
    function, device = implementation
    images = random_images((1, 2, 40, 400), dtype)
    widths = (1, 3, 20, 31, 40, 56, 64, 110, 113, 200, 399)
    beyond = F.pad(images, (0, 60))
    for size in ((9, 28), (3, 16), (5, 11), (4, 45)):
        for left in (0, 130):
            boxes = [(min(left, 400 - w), 1, min(left, 400 - w) + w, 38) for w in widths]
            expected = torch.cat([interpolated(images, box, size, False) for box in boxes])
            actual = function(
                images.to(device), torch.tensor(boxes, dtype=torch.float32, device=device), size, antialias=False
            )
            assert_equal_within(actual, expected, dtype)
        boxes = [(450 - w, 1, 450, 38) for w in widths]  # leave the image, some wholly
        expected = torch.cat([interpolated(beyond, box, size, False) for box in boxes])
        actual = function(
            images.to(device), torch.tensor(boxes, dtype=torch.float32, device=device), size, antialias=False
        )
        assert_equal_within(actual, expected, dtype)


STRIDED_VIEWS = {
    "rows and columns skipped": lambda x: x[:, :, 1::2, ::3],
    "region of an image": lambda x: x[:, :, 5:60, 7:70],
    "channels of 4 interleaved": lambda x: x.contiguous(memory_format=torch.channels_last)[:, :3],
    "one channel of 4 interleaved": lambda x: x.contiguous(memory_format=torch.channels_last)[:, 2:3],
    "transposed": lambda x: x.transpose(2, 3),
    "columns repeated": lambda x: x[:, :, :, :1].expand(-1, -1, -1, 50),
    "interleaved, columns skipped": lambda x: x.contiguous(memory_format=torch.channels_last)[:, :, :, ::5],
    "images repeated": lambda x: x[:1].expand(3, -1, -1, -1),
}


@pytest.mark.parametrize("view", STRIDED_VIEWS)
def test_any_strides(implementation, view):
    function, device = implementation
    images = STRIDED_VIEWS[view](random_images((2, 4, 66, 90), torch.float32).to(device))
    height, width = images.shape[2:]
    box = (1, 2, width - 1, height)
    boxes = torch.tensor([box], dtype=torch.float32, device=device)
    for antialias, size in itertools.product((True, False), ((9, 20), (70, 95))):
        actual = function(images, boxes, size, antialias=antialias)
        assert_equal_within(actual, interpolated(images.cpu(), box, size, antialias), torch.float32)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("channels", [1, 2, 5, 16, 17, 40, 70])
def test_any_number_of_channels(implementation, channels, memory_format):
    function, device = implementation
    images = random_images((1, channels, 30, 40), torch.float32).contiguous(memory_format=memory_format)
    boxes = torch.tensor([[2.0, 3.0, 39.0, 28.0]], device=device)
    mean, std = torch.linspace(0, 1, channels), torch.linspace(0.5, 2, channels)
    actual = function(images.to(device), boxes, (11, 47), mean=mean.to(device), std=std.to(device))
    normalized = (images.double() - mean.double().view(-1, 1, 1)) / std.double().view(-1, 1, 1)
    assert_equal_within(actual, interpolated(normalized, (2, 3, 39, 28), (11, 47), True), torch.float32)


@pytest.mark.parametrize("shape", [(1, 3, 40, 2500), (1, 2, 3000, 30), (1, 20, 1300, 1200)])
@pytest.mark.parametrize("antialias", [True, False])
def test_boxes_larger_than_the_scratch_memory(implementation, shape, antialias):
    function, device = implementation
    height, width = shape[2:]
    box = (3, 1, width - 2, height)
    boxes = torch.tensor([box], dtype=torch.float32, device=device)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        images = random_images(shape).contiguous(memory_format=memory_format)
        actual = function(images.to(device), boxes, (19, 23), antialias=antialias)
        assert_equal_within(actual, interpolated(images, box, (19, 23), antialias), torch.float64)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_outside_pixels_count_as_pad_value_after_normalisation(implementation, dtype, antialias):
    function, device = implementation
    images = random_images((1, 3, 20, 30), dtype)
    mean, std = torch.tensor([0.3, 100.0, -4.0]), torch.tensor([0.7, 50.0, 2.0])
    pad, border = 2.5, 50
    normalized = (images.double() - mean.double().view(-1, 1, 1)) / std.double().view(-1, 1, 1)
    padded = F.pad(normalized, (border,) * 4, value=pad)
    corners = [
        (-10, -7, 15, 11),
        (20, 12, 45, 31),
        (-50, -50, 80, 70),
        (-20, 5, 50, 6),
        (40, 0, 50, 20),
        (-9, -9, 0, 0),
    ]
    boxes = torch.tensor(corners, dtype=torch.float32, device=device)
    for size in ((7, 7), (40, 90)):
        expected = torch.cat([interpolated(padded, tuple(c + border for c in box), size, antialias) for box in corners])
        actual = function(
            images.to(device), boxes, size, mean=mean.tolist(), std=std.tolist(), antialias=antialias, pad_value=pad
        )
        assert_equal_within(actual, expected, dtype)


def sample_by_definition(image, box, size, antialias, pad_value):
    """The docstring of crop_resize in loops, for one plane (H, W); enumerates every pixel of the box, in or out."""

    def weights(low, high, outputs):
        """For each output the pairs (pixel, weight)."""
        scale = (high - low) / outputs
        for j in range(outputs):
            centre = low + (j + 0.5) * scale
            if antialias and scale > 1:
                pairs = []
                for k in range(math.floor(low), math.ceil(high)):
                    share = min(k + 1, high) - max(k, low)
                    pairs.append((k, max(0.0, 1 - abs(k + 0.5 - centre) / scale) * share))
                total = sum(w for _, w in pairs)
                yield [(k, w / total) for k, w in pairs]
            else:
                centre = min(max(centre, low + 0.5), high - 0.5) if high - low >= 1 else (low + high) / 2
                k = math.floor(centre - 0.5)
                fraction = centre - 0.5 - k
                yield [(k, 1 - fraction), (k + 1, fraction)]

    x1, y1, x2, y2 = box
    height, width = image.shape
    rows = []
    for row in weights(y1, y2, size[0]):
        values = []
        for column in weights(x1, x2, size[1]):
            value = 0.0
            for (y, wy), (x, wx) in itertools.product(row, column):
                inside = 0 <= y < height and 0 <= x < width
                value += wy * wx * (image[y, x].item() if inside else pad_value)
            values.append(value)
        rows.append(values)
    return torch.tensor(rows, dtype=torch.float64)


coordinates = st.floats(-9, 20, width=32)


sides = st.floats(0.125, 25, width=32)


@needs_library
@settings(max_examples=60, deadline=None)
@given(coordinates, coordinates, sides, sides, st.integers(1, 6), st.integers(1, 6), st.booleans())
def test_fractional_boxes_follow_the_definition(x, y, box_width, box_height, height, width, antialias):
    image = random_images((9, 12))
    boxes = torch.tensor([[x, y, x + box_width, y + box_height]], dtype=torch.float32)
    expected = sample_by_definition(image, boxes[0].tolist(), (height, width), antialias, -1.5)
    for function in (ops.crop_resize, ops.reference.crop_resize):
        actual = function(image[None, None], boxes, (height, width), antialias=antialias, pad_value=-1.5)
        torch.testing.assert_close(actual[0, 0], expected, atol=1e-9, rtol=1e-9)


def test_fractional_boxes_are_sampled_at_their_real_coordinates(implementation):
    """Magnified, away from its border, a crop is what grid_sample reads at the same points."""
    function, device = implementation
    images = random_images((1, 2, 40, 50))
    box, size = torch.tensor([10.3, 4.8, 35.9, 33.1]).tolist(), 64  # as float32 holds them
    steps = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    x, y = box[0] + steps * (box[2] - box[0]), box[1] + steps * (box[3] - box[1])
    grid = torch.stack(torch.meshgrid(2 * x / 50 - 1, 2 * y / 40 - 1, indexing="xy"), dim=-1)
    expected = F.grid_sample(images, grid[None], mode="bilinear", align_corners=False)
    actual = function(images.to(device), torch.tensor([box], dtype=torch.float32, device=device), size)
    margin = 2  # 25.6 and 28.3 pixels become 64: two outputs are less than a pixel, more than half a one
    inner = (..., slice(margin, -margin), slice(margin, -margin))
    torch.testing.assert_close(actual.cpu()[inner], expected[inner], atol=1e-6, rtol=1e-6)


BAD_BOXES = [
    (math.nan, 0, 5, 5),
    (0, 0, 5, math.nan),
    (-math.inf, 0, 5, 5),
    (0, -math.inf, math.inf, math.inf),
    (3, 3, 3, 8),
    (3, 3, 8, 3),
    (8, 3, 3, 8),
    (3, 8, 8, 3),
    (0, 0, 0, 0),
    (1e30, 0, 1e30, 5),
]


def test_empty_reversed_and_non_finite_boxes_give_pad_value(implementation):
    function, device = implementation
    images = random_images((1, 3, 20, 30), torch.float32).to(device)
    boxes = torch.tensor([*BAD_BOXES, (0, 0, 30, 20)], device=device)
    actual = function(images, boxes, (5, 18), mean=[1, 2, 3], std=[2, 2, 2], pad_value=0.75).cpu()
    assert (actual[:-1] == 0.75).all()
    assert (actual[-1] != 0.75).all()


HUGE_BOXES = [
    (-1e30, -1e30, 1e30, 1e30),
    (-3.4e38, -3.4e38, 3.4e38, 3.4e38),
    (-1e9, 2, 1e9, 9),
    (2, -2e9, 4, 3e9),
    (3e9, 3e9, 4e9, 4e9),
    (-5e18, 0, 1e19, 1),
    (16777216, 0, 16777218, 5),
    (-2147483648, -2147483648, 2147483648, 2147483648),
    (1e-40, 1e-40, 2e-40, 2e-40),
]


@pytest.mark.parametrize("antialias", [True, False])
def test_huge_and_tiny_boxes_cost_little_and_stay_between_their_pixels(implementation, antialias):
    function, device = implementation
    images = random_images((1, 3, 20, 30), torch.float32).to(device)
    boxes = torch.tensor(HUGE_BOXES, device=device)
    function(images, boxes, (5, 18))
    begin = time.perf_counter()
    actual = function(images, boxes, (5, 18), antialias=antialias, pad_value=0.5).cpu()
    assert time.perf_counter() - begin < 1
    assert actual.isfinite().all()
    assert actual.min() >= -1e-6 and actual.max() <= 1 + 1e-6
    if antialias:  # almost all of these boxes lies outside
        torch.testing.assert_close(actual[:2], torch.full_like(actual[:2], 0.5), atol=1e-6, rtol=0)


@needs_library
def test_images_of_more_than_2_31_elements():
    side = 46400
    images = torch.empty((1, 1, side, side), dtype=torch.uint8)  # its pages are only made where they are touched
    assert images.numel() > 2**31
    images[0, 0, -40:, -50:] = random_images((40, 50), torch.uint8)
    box = (side - 50, side - 40, side, side)
    actual = ops.crop_resize(images, torch.tensor([box], dtype=torch.float32), 28)
    assert_equal_within(actual, interpolated(images, box, (28, 28), True), torch.uint8)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16])
def test_the_image_is_neither_converted_nor_copied(dtype, memory_format, device):
    # 48 MB and more: blocks over 32 MiB go back to the system when freed, so that a copy shows whatever ran before.
    images = torch.ones((1, 3, 4000, 4000), dtype=dtype, device=device).contiguous(memory_format=memory_format)
    corners = torch.arange(16, device=device)[:, None] * torch.tensor([150.0, 120.0], device=device)
    boxes = torch.cat([corners, corners + 300], dim=1)

    def crops():
        return ops.crop_resize(images, boxes, 28, mean=[0.5] * 3, std=[0.2] * 3)

    memory = peak_memory(crops, torch.device(device))
    if memory is None:
        pytest.skip("this system does not tell the peak of memory")
    assert memory < 2**21


@pytest.mark.parametrize("count", [0, 1, 3])
def test_empty_images_and_no_boxes(implementation, count):
    function, device = implementation
    boxes = torch.tensor([[0.0, 0.0, 5.0, 5.0]] * count, device=device).reshape(count, 4)
    for height, width in ((0, 7), (7, 0), (0, 0)):
        actual = function(torch.empty(1, 3, height, width, device=device), boxes, (4, 6), pad_value=0.25)
        assert actual.shape == (count, 3, 4, 6) and (actual == 0.25).all()
    assert function(torch.empty(1, 0, 8, 8, device=device), boxes, 4).shape == (count, 0, 4, 4)
    assert function(torch.empty(0, 3, 8, 8, device=device), boxes[:0], 4).shape == (0, 3, 4, 4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [(12, 20), (3, 300)])
def test_gradient_equals_that_of_the_reference(implementation, size, dtype):
    function, device = implementation
    boxes = torch.rand(40, 2, generator=torch.Generator().manual_seed(1)) * 60 - 10
    boxes = torch.cat([boxes, boxes + torch.rand(40, 2, generator=torch.Generator().manual_seed(2)) * 50], dim=1)
    image_index = torch.arange(40) % 2
    weights = random_images((40, 3, *size), dtype, seed=3)

    def gradient(function, device, dtype):
        images = random_images((2, 3, 50, 70), dtype).to(device).requires_grad_()
        out = function(images, boxes.to(device), size, image_index=image_index.to(device), std=[0.5, 1, 2])
        (out * weights.to(device, dtype)).sum().backward()
        return images.grad.cpu()

    actual = gradient(function, device, dtype)
    expected = gradient(ops.reference.crop_resize, torch.device("cpu"), torch.float64)
    assert actual.dtype == dtype
    tolerance = 20 * TOLERANCE[dtype] if function is ops.reference.crop_resize else 2 * TOLERANCE[dtype]
    torch.testing.assert_close(actual.double(), expected, atol=tolerance * 5, rtol=tolerance)


@needs_library
def test_fallback_copies_images_that_are_small_for_their_boxes_to_the_cpu(monkeypatch):
    worth_copying = sys.modules["insight.ops.crop_resize"]._worth_copying
    photograph = torch.empty(1, 3, 800, 800, dtype=torch.uint8, device="meta")
    assert worth_copying(photograph, 2) and not worth_copying(photograph, 1)
    assert worth_copying(photograph.float(), 8) and not worth_copying(photograph.float(), 7)
    assert not worth_copying(photograph, 0)
    assert not worth_copying(torch.empty(1, 3, 20000, 20000, dtype=torch.uint8, device="meta"), 1000)
    assert not worth_copying(torch.empty(1, 3, 8, 8), 100)
    monkeypatch.setattr(sys.modules["insight.ops._ext"], "BACKENDS", frozenset())
    assert not worth_copying(photograph, 100)


@needs_library
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("values", [None, torch.tensor([0.5, 1.0, 2.0])])
@pytest.mark.parametrize("copied", [True, False])
def test_fallback_on_a_device_without_a_kernel(monkeypatch, device, values, copied):
    module = sys.modules["insight.ops.crop_resize"]
    monkeypatch.setattr(module, "_worth_copying", lambda images, num_boxes: copied)
    if copied:
        monkeypatch.setattr(ops.reference, "crop_resize", None)
    images = random_images((2, 3, 16, 18), torch.float32).contiguous(memory_format=torch.channels_last)
    tensors = images, torch.tensor([[1.5, 2, 9, 14], [-2, 3, 12, 30]]), torch.tensor([1, 0])
    expected = ops.crop_resize(*tensors[:2], (5, 7), image_index=tensors[2], mean=values, std=values, pad_value=0.5)
    places = [x if x is None else x.to(device) for x in (*tensors, values)]
    actual = module._fallback(*places[:3], 5, 7, places[3], places[3], True, 0.5)
    assert actual.device.type == device and actual.is_contiguous()
    torch.testing.assert_close(actual.cpu(), expected, atol=1e-6 * (not copied), rtol=1e-5 * (not copied))


@pytest.mark.parametrize("size", [(9, 7), (16, 28), (5, 33)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_bilinear_samples_far_apart_read_their_own_pixels_alone(size, dtype):
    """Shrinking by far without antialias: a pixel between the samples may be NaN, at the image's border too."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 3, 150, 170, generator=generator, dtype=dtype)
    boxes = torch.tensor(
        [[10.3, 5.1, 150.9, 140.2], [-60.0, -45.5, 120.0, 100.0], [0, 0, 170, 150], [50, 60, 900, 800]]
    )
    index = torch.tensor([0, 1, 1, 0])
    options = {
        "image_index": index,
        "mean": [0.1, 0.2, 0.3],
        "std": [0.5, 0.6, 0.7],
        "antialias": False,
        "pad_value": 2.0,
    }
    expected = ops.reference.crop_resize(images, boxes, size, **options)
    torch.testing.assert_close(ops.crop_resize(images, boxes, size, **options), expected, atol=1e-4, rtol=1e-4)
    read = torch.zeros_like(images, dtype=torch.bool)
    leaf = images.clone().requires_grad_()
    read[torch.autograd.grad(ops.crop_resize(leaf, boxes, size, **options).sum(), leaf)[0] != 0] = True
    holes = images.masked_fill(~read, float("nan"))
    assert holes.isnan().float().mean() > 0.3
    torch.testing.assert_close(ops.crop_resize(holes, boxes, size, **options), expected, atol=1e-4, rtol=1e-4)
