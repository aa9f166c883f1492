"""crop_resize in autograd, torch.compile and autocast, and the operator's registration."""

import pytest
import torch
from helpers.crop_resize import DEVICES, needs_library, random_images
from torch.autograd import gradcheck, gradgradcheck
from torch.library import opcheck

from insight import ops


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("antialias", [True, False])
def test_gradients_by_finite_differences(device, antialias):
    images = random_images((2, 2, 9, 11)).to(device).requires_grad_()
    boxes = torch.tensor(
        [[0.0, 0, 11, 9], [2.3, 1.7, 4.9, 8.2], [-3.5, -2, 6, 12.5], [8, 8, 8.5, 8.4], [5, 5, 5, 7], [20, 20, 30, 30]],
        device=device,
    )
    image_index = torch.tensor([0, 1, 1, 0, 1, 0], device=device)

    def function(images):
        return ops.crop_resize(
            images, boxes, (3, 4), image_index=image_index, mean=[0.1, 0.2], std=[0.5, 2], antialias=antialias
        )

    assert gradcheck(function, images, nondet_tol=1e-12)
    assert gradgradcheck(function, images, nondet_tol=1e-12)


def test_reference_backward_is_the_gradient_of_the_reference():
    boxes = torch.tensor(
        [[0.0, 0, 11, 9], [2.3, 1.7, 4.9, 8.2], [-3.5, -2, 6, 12.5], [8, 8, 8.5, 8.4], [5, 5, 5, 7], [20, 20, 30, 30]]
    )
    image_index, std = torch.tensor([0, 1, 1, 0, 1, 0]), torch.tensor([0.5, 2])
    images = random_images((2, 2, 9, 11)).requires_grad_()
    for antialias in (True, False):
        out = ops.reference.crop_resize(
            images, boxes, (3, 4), image_index=image_index, mean=[0.1, 0.2], std=std, antialias=antialias
        )
        grad = random_images(out.shape, seed=1)
        expected = torch.autograd.grad(out, images, grad)[0]
        actual = ops.reference.crop_resize_backward(grad, boxes, image_index, 2, 9, 11, std, antialias)
        torch.testing.assert_close(actual, expected, atol=1e-12, rtol=1e-12)


@needs_library
def test_gradient_on_the_cpu_is_the_same_on_any_number_of_threads():
    corners = torch.rand(200, 2, generator=torch.Generator().manual_seed(1)) * 300
    boxes = torch.cat([corners, corners + 90], dim=1)
    gradients = []
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            images = random_images((1, 2, 400, 400), torch.float32).requires_grad_()
            ops.crop_resize(images, boxes, 28).square().sum().backward()
            gradients.append(images.grad)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(gradients[0], other) for other in gradients[1:])


@pytest.mark.parametrize("device", DEVICES)
def test_what_has_a_gradient(device):
    boxes = torch.tensor([[1.0, 1.0, 6.0, 7.0]], device=device, requires_grad=True)
    mean = torch.zeros(3, device=device, requires_grad=True)
    integers = torch.zeros(1, 3, 8, 8, dtype=torch.uint8, device=device)
    assert not ops.crop_resize(integers, boxes, 4, mean=mean).requires_grad
    floats = torch.zeros(1, 3, 8, 8, device=device, requires_grad=True)
    ops.crop_resize(floats, boxes, 4, mean=mean).sum().backward()
    assert floats.grad.sum().item() == pytest.approx(3 * 16)
    assert boxes.grad is None and mean.grad is None


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_opcheck(device, dtype, antialias):
    images = random_images((2, 3, 16, 18), dtype).to(device)
    images = images.requires_grad_() if dtype.is_floating_point else images
    boxes = torch.tensor([[1.5, 2, 9, 14], [-2, 3, 12, 30]], device=device)
    image_index = torch.tensor([1, 0], device=device)
    for values in (None, torch.ones(3, device=device)):
        args = (images, boxes, image_index, 5, 7, values, values, antialias, 0.5)
        opcheck(torch.ops.insight.crop_resize.default, args)
    grad = random_images((2, 3, 5, 7), torch.float32).to(device).requires_grad_()
    for values in (None, torch.ones(3, device=device)):
        args = (grad, boxes, image_index, 2, 16, 18, values, antialias)
        opcheck(torch.ops.insight.crop_resize_backward.default, args)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_into_one_graph(device, dynamic):
    def loss(images, boxes, size):
        return ops.crop_resize(images, boxes, size, mean=[0.5, 0.4, 0.3], std=[0.2, 0.2, 0.2]).square().sum()

    compiled = torch.compile(loss, fullgraph=True, dynamic=dynamic)
    for count, side, size in ((4, 40, 14), (7, 52, 9)):
        boxes = torch.rand(count, 4, device=device).sort(dim=1).values * side
        gradients = []
        for function in (loss, compiled):
            images = random_images((1, 3, side, side), torch.float32).to(device).requires_grad_()
            value = function(images, boxes, size)
            value.backward()
            gradients.append((value.detach(), images.grad))
        torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize("device", DEVICES)
def test_autocast_changes_nothing(device):
    boxes = torch.tensor([[1.25, 1.0, 6.0, 7.0]], device=device)
    for dtype in (torch.uint8, torch.float32, torch.bfloat16):
        images = random_images((1, 3, 8, 8), dtype).to(device)
        expected = ops.crop_resize(images, boxes, 4)
        with torch.autocast(device, dtype=torch.bfloat16):
            actual = ops.crop_resize(images, boxes.to(torch.float64), 4)
        assert actual.dtype == expected.dtype and torch.equal(actual, expected)


@pytest.mark.gpu
@needs_library
def test_gradient_on_cuda_says_that_it_is_not_deterministic():
    images = torch.rand(1, 3, 8, 8, device="cuda", requires_grad=True)
    out = ops.crop_resize(images, torch.tensor([[0.0, 0, 8, 8]], device="cuda"), 4)
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(RuntimeError, match="no deterministic implementation"):
            out.sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)
