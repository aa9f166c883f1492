"""Arguments of crop_resize: which are accepted, and errors that name the others."""

import math

import numpy as np
import pytest
import torch
from helpers.crop_resize import needs_library

from insight import ops
from insight.errors import InputError


@needs_library
@pytest.mark.parametrize("device", [pytest.param("cuda", marks=pytest.mark.gpu), "cuda on host"])
def test_image_index_out_of_range_gives_nan_on_cuda(device, device_of):
    device = device_of(device)
    images = torch.rand(2, 3, 8, 8, device=device, requires_grad=True)
    boxes = torch.tensor([[0.0, 0, 8, 8]] * 3, device=device)
    out = ops.crop_resize(images, boxes, 4, image_index=torch.tensor([1, 2, -1], device=device))
    assert out[0].isfinite().all() and out[1:].isnan().all()
    out.backward(torch.ones_like(out))
    assert images.grad[0].eq(0).all() and images.grad[1].sum().item() == pytest.approx(3 * 16, rel=1e-5)


@pytest.mark.parametrize("index", [2, -1, 2**40])
def test_image_index_out_of_range_is_an_error_on_the_cpu(index):
    images, boxes = torch.rand(2, 3, 8, 8), torch.tensor([[0.0, 0, 8, 8]] * 2)
    for function in (ops.crop_resize, ops.reference.crop_resize):
        with pytest.raises((InputError, RuntimeError), match=rf"image_index: expected values in \[0, 2\).*{index}"):
            function(images, boxes, 4, image_index=torch.tensor([0, index]))


IMAGES, BOX = torch.rand(1, 3, 8, 8), torch.tensor([[0.0, 0.0, 8.0, 8.0]])
BAD_ARGUMENTS = [
    ({"images": IMAGES[0]}, r"images: expected shape \(B, C, H, W\), got \(3, 8, 8\)"),
    ({"images": IMAGES.to(torch.int16)}, "images: expected a tensor .*uint8.*, got torch.int16"),
    ({"images": IMAGES.numpy()}, "images: expected a tensor .*, got ndarray"),
    ({"boxes": BOX[0]}, r"boxes: expected shape \(N, 4\), got \(4,\)"),
    ({"boxes": torch.zeros(2, 5)}, r"boxes: expected shape \(N, 4\), got \(2, 5\)"),
    ({"boxes": BOX.long()}, r"boxes: expected a floating-point tensor \(N, 4\), got torch.int64"),
    ({"boxes": BOX.to("meta")}, "boxes: expected the device of images, cpu, got meta"),
    ({"size": 0}, "size: expected positive integers, got 0"),
    ({"size": (4, -1)}, r"size: expected positive integers, got \(4, -1\)"),
    ({"size": (4, 4, 4)}, r"size: expected one integer or \(height, width\), got \(4, 4, 4\)"),
    ({"size": 2.5}, "size: expected integers, got 2.5"),
    ({"size": (4, np.float64(4))}, r"size: expected integers, got \(4, .*4.0"),
    ({"size": np.int64(0)}, "size: expected positive integers, got 0"),
    ({"image_index": torch.zeros(2, dtype=torch.int64)}, r"image_index: expected shape \(N,\) = \(1,\)"),
    ({"image_index": torch.zeros(1)}, r"image_index: expected an int64 or int32 .*\(N,\), got torch.float32"),
    ({"image_index": [0]}, r"image_index: expected an int64 or int32 tensor \(N,\), got list"),
    ({"mean": [0.5]}, r"mean: expected one value per channel, shape \(3,\), got \(1,\)"),
    ({"std": torch.ones(3, 1)}, r"std: expected one value per channel, shape \(3,\), got \(3, 1\)"),
    ({"std": [1, 0, 1]}, r"std: expected values above 0, got \[1, 0, 1\]"),
    ({"std": (1.0, -2.0, 1.0)}, r"std: expected values above 0, got \[1.0, -2.0, 1.0\]"),
    ({"std": [math.nan] * 3}, r"std: expected values above 0, got \[nan, nan, nan\]"),
    ({"pad_value": math.nan}, "pad_value: expected a finite number, got nan"),
]


@pytest.mark.parametrize(("change", "message"), BAD_ARGUMENTS)
def test_errors_name_the_argument(change, message):
    arguments = {"images": IMAGES, "boxes": BOX, "size": 4} | change
    with pytest.raises(InputError, match=message):
        ops.crop_resize(arguments.pop("images"), arguments.pop("boxes"), arguments.pop("size"), **arguments)


def test_integers_of_any_kind():
    expected = ops.crop_resize(IMAGES, BOX, (4, 5))
    index = torch.zeros(1, dtype=torch.int32)
    assert torch.equal(ops.crop_resize(IMAGES, BOX, (np.int64(4), np.uint8(5)), image_index=index), expected)
    assert ops.crop_resize(IMAGES, BOX, np.int64(8)).shape == (1, 3, 8, 8)


@needs_library
def test_the_op_itself_checks_what_it_reads():
    op = torch.ops.insight.crop_resize.default
    index = torch.zeros(1, dtype=torch.int64)
    for images, boxes, image_index, mean, message in (
        (IMAGES[0], BOX, index, None, r"images: expected shape \(B, C, H, W\)"),
        (IMAGES.long(), BOX, index, None, "images: expected uint8 or floating point"),
        (IMAGES, BOX.double(), index, None, "boxes: expected float32"),
        (IMAGES, BOX, index.int(), None, "image_index: expected int64"),
        (IMAGES, BOX, index.expand(2), None, r"image_index: expected shape \(N,\)"),
        (IMAGES, BOX, index, torch.zeros(2), r"mean: expected shape \(C,\) = \(3,\), got \(2\)"),
    ):
        with pytest.raises(RuntimeError, match=message):
            op(images, boxes, image_index, 4, 4, mean, None, True, 0.0)
    with pytest.raises(RuntimeError, match="height: expected an integer in"):
        op(IMAGES, BOX, index, 0, 4, None, None, True, 0.0)
