"""area_loss: kernels, fallback and reference against Algorithm 1 written out with torchvision's IoU."""

import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck
from torch.library import opcheck
from torchvision.ops import box_iou

from insight import ops
from insight.errors import InputError

needs_library = pytest.mark.skipif(not ops.has_ops(), reason="the compiled library is not loaded")
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
IMPLEMENTATIONS = [
    pytest.param((ops.area_loss, "cpu"), id="compiled-cpu", marks=needs_library),
    pytest.param((ops.area_loss, "cuda"), id="compiled-cuda", marks=[needs_library, pytest.mark.gpu]),
    pytest.param((ops.area_loss, "cuda on host"), id="cuda-on-host", marks=needs_library),
    pytest.param((ops.area_loss, "fallback"), id="fallback-cpu"),
    pytest.param((ops.reference.area_loss, "cpu"), id="reference-cpu"),
]
CUDA = [pytest.param("cuda", marks=pytest.mark.gpu), "cuda on host"]


@pytest.fixture(params=IMPLEMENTATIONS)
def implementation(request, device_of):
    function, device = request.param
    return function, device_of(device)


def algorithm_1(proposals, gt_boxes, iou_threshold=0.0, eps=1e-6):
    """Losses of the proposals kept, one by one, as the paper writes it; for boxes of positive area."""
    losses = []
    for proposal in proposals:
        overlaps = box_iou(proposal[None], gt_boxes)[0].tolist()
        highest = max(overlaps)
        if highest < iou_threshold:
            continue
        gt = gt_boxes[overlaps.index(highest)]
        area_proposal = (proposal[2] - proposal[0]) * (proposal[3] - proposal[1])
        area_gt = (gt[2] - gt[0]) * (gt[3] - gt[1])
        losses.append((abs(area_proposal - area_gt) / (area_gt + eps)) ** 2)
    return losses


def random_boxes(count, seed, dtype=torch.float64, side=60.0):
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 2, generator=generator, dtype=torch.float64) * 100
    sides = torch.rand(count, 2, generator=generator, dtype=torch.float64) * side + 5
    return torch.cat([low, low + sides], dim=1).to(dtype)


def value_and_gradient(function, proposals, gt_boxes, **options):
    proposals = proposals.detach().clone().requires_grad_()
    loss = function(proposals, gt_boxes, **options)
    loss.backward()
    return loss.detach(), proposals.grad


def test_one_pair_by_hand(implementation):
    function, device = implementation
    proposals = torch.tensor([[0.0, 0.0, 4.0, 5.0]], device=device)  # area 20
    gt_boxes = torch.tensor([[0.0, 0.0, 2.0, 5.0]], device=device)  # area 10
    loss, gradient = value_and_gradient(function, proposals, gt_boxes, eps=1e-12)
    assert loss.item() == pytest.approx(1.0)
    # dL/dA = 2 (20 - 10) / 10^2 = 0.2; dA/dx2 = height 5, dA/dy2 = width 4
    torch.testing.assert_close(gradient.cpu(), torch.tensor([[-1.0, -0.8, 1.0, 0.8]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("iou_threshold", [0.0, 0.3])
@pytest.mark.parametrize("sizes", [(1, 1), (7, 3), (64, 17), (65, 1), (200, 300)])
def test_equals_algorithm_1(implementation, sizes, iou_threshold, dtype):
    function, device = implementation
    proposals, gt_boxes = random_boxes(sizes[0], 0, dtype), random_boxes(sizes[1], 1, dtype)
    leaf = proposals.double().requires_grad_()
    losses = algorithm_1(leaf, gt_boxes.double(), iou_threshold)
    expected = {"sum": sum(losses), "mean": sum(losses) / max(1, len(losses))}
    assert iou_threshold == 0.0 or sizes != (200, 300) or 0 < len(losses) < 200  # the threshold does something
    for reduction, loss in expected.items():
        value, gradient = value_and_gradient(
            function, proposals.to(device), gt_boxes.to(device), iou_threshold=iou_threshold, reduction=reduction
        )
        assert value.dtype == dtype and gradient.dtype == dtype
        wanted = torch.autograd.grad(loss, leaf, retain_graph=True)[0] if losses else torch.zeros_like(leaf)
        close = {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 1e-10, "atol": 1e-12}
        torch.testing.assert_close(value.cpu().double(), torch.as_tensor(loss, dtype=torch.float64), **close)
        torch.testing.assert_close(gradient.cpu().double(), wanted, **close)


@given(seed=st.integers(0, 2**31), count=st.integers(0, 200), gt_count=st.integers(0, 40), threshold=st.floats(0, 1))
@settings(max_examples=60, deadline=None)
@needs_library
def test_op_equals_reference_on_coarse_boxes(seed, count, gt_count, threshold):
    """Whole coordinates on a small grid: many equal IoUs, empty and inverted boxes, thresholds hit exactly."""
    generator = torch.Generator().manual_seed(seed)
    proposals = torch.randint(-2, 6, (count, 4), generator=generator).float()
    gt_boxes = torch.randint(-2, 6, (gt_count, 4), generator=generator).float()
    options = {"iou_threshold": round(threshold * 6) / 6, "eps": 1.0, "reduction": "sum"}
    loss, gradient = value_and_gradient(ops.area_loss, proposals, gt_boxes, **options)
    expected_loss, expected_gradient = value_and_gradient(ops.reference.area_loss, proposals, gt_boxes, **options)
    torch.testing.assert_close(loss, expected_loss)
    torch.testing.assert_close(gradient, expected_gradient)


def test_of_equal_ious_the_first_counts(implementation):
    function, device = implementation
    proposals = torch.tensor([[0.0, 0.0, 4.0, 4.0]], device=device)  # area 16
    small = [0.0, 0.0, 2.0, 2.0]  # IoU 4/16
    large = [0.0, 0.0, 8.0, 8.0]  # IoU 16/64
    for boxes, area in (([small, large], 4.0), ([large, small], 64.0)):
        far = [[100.0 + i, 0.0, 101.0 + i, 1.0] for i in range(5)]  # so that the two are not neighbours
        gt_boxes = torch.tensor([*far, boxes[0], *far, boxes[1]], device=device)
        loss = function(proposals, gt_boxes, eps=1e-12)
        assert loss.item() == pytest.approx(((16 - area) / area) ** 2)


def test_iou_equal_to_the_threshold_is_kept(implementation):
    function, device = implementation
    proposals = torch.tensor([[0.0, 0.0, 2.0, 2.0]], device=device)
    gt_boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0]], device=device)
    assert function(proposals, gt_boxes, iou_threshold=0.25).item() == pytest.approx((12 / 16) ** 2)
    assert function(proposals, gt_boxes, iou_threshold=0.26).item() == 0.0


def test_threshold_zero_keeps_proposals_that_touch_nothing(implementation):
    function, device = implementation
    proposals = torch.tensor([[50.0, 50.0, 52.0, 52.0]], device=device)  # area 4
    gt_boxes = torch.tensor([[0.0, 0.0, 2.0, 1.0], [0.0, 0.0, 9.0, 9.0]], device=device)  # all IoU 0: the first, area 2
    assert function(proposals, gt_boxes).item() == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("sizes", [(0, 5), (5, 0), (0, 0)])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_without_boxes_zero_with_zero_gradient(implementation, sizes, reduction):
    function, device = implementation
    proposals, gt_boxes = (random_boxes(n, 0).to(device) for n in sizes)
    loss, gradient = value_and_gradient(function, proposals, gt_boxes, reduction=reduction)
    assert loss.shape == () and loss.item() == 0.0
    assert gradient.shape == proposals.shape and not gradient.any()


def test_nothing_kept_gives_zero_with_zero_gradient(implementation):
    function, device = implementation
    proposals = random_boxes(5, 0).to(device)
    loss, gradient = value_and_gradient(function, proposals, proposals + 1000.0, iou_threshold=0.1)
    assert loss.item() == 0.0 and not gradient.any()


def test_inverted_side_is_empty_and_gets_no_gradient(implementation):
    function, device = implementation
    gt_boxes = torch.tensor([[0.0, 0.0, 2.0, 5.0]], device=device)
    # x inverted: width 0, so area 0, loss (10 / 10)^2; by y the gradient is that of the area, width 0
    loss, gradient = value_and_gradient(
        function, torch.tensor([[3.0, 0.0, 1.0, 4.0]], device=device), gt_boxes, eps=1e-12
    )
    assert loss.item() == pytest.approx(1.0) and not gradient.any()
    # Width exactly zero may grow: dL/dx2 = 2 (0 - 10) / 10^2 * height 4
    _, gradient = value_and_gradient(function, torch.tensor([[1.0, 0.0, 1.0, 4.0]], device=device), gt_boxes, eps=1e-12)
    torch.testing.assert_close(gradient.cpu(), torch.tensor([[0.8, 0.0, -0.8, 0.0]]))


def test_empty_ground_truth_is_divided_by_eps(implementation):
    function, device = implementation
    point = torch.tensor([[1.0, 1.0, 1.0, 1.0]], device=device)
    assert function(torch.tensor([[0.0, 0.0, 2.0, 2.0]], device=device), point, eps=0.5).item() == pytest.approx(64.0)
    assert function(point, point).item() == 0.0  # IoU of two empty boxes is 0, not NaN: kept, and equal


@pytest.mark.parametrize("column", range(4))
def test_nan_boxes_are_left_out(implementation, column):
    function, device = implementation
    proposals, gt_boxes = random_boxes(70, 0).to(device), random_boxes(9, 1).to(device)
    broken, broken_gt = proposals.clone(), gt_boxes.clone()
    broken[[0, 33, 69], column] = torch.nan
    broken_gt[4, column] = torch.nan
    whole = torch.ones(70, dtype=torch.bool)
    whole[[0, 33, 69]] = False
    others = [0, 1, 2, 3, 5, 6, 7, 8]
    expected, gradient_of_whole = value_and_gradient(function, proposals[whole], gt_boxes[others])
    loss, gradient = value_and_gradient(function, broken, broken_gt)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient[whole], gradient_of_whole)
    assert not gradient[~whole].any()
    all_nan = torch.full_like(gt_boxes, torch.nan)
    loss, gradient = value_and_gradient(function, proposals, all_nan)
    assert loss.item() == 0.0 and not gradient.any()


def test_huge_and_infinite_coordinates_do_no_harm(implementation):
    function, device = implementation
    proposals = torch.tensor([[-3e38, 0.0, 3e38, 1.0], [0.0, 0.0, torch.inf, 1.0], [0.0, 0.0, 2.0, 2.0]], device=device)
    gt_boxes = torch.tensor([[0.0, 0.0, 2.0, 1.0], [-torch.inf, 0.0, torch.inf, 1.0]], device=device)
    assert not function(proposals, gt_boxes[:1]).isfinite()  # diverged proposals show in the loss
    assert function(proposals[2:], gt_boxes[:1]).item() == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_computed_in_float32(implementation, dtype):
    function, device = implementation
    proposals, gt_boxes = random_boxes(40, 0, dtype).to(device) * 8, random_boxes(9, 1, dtype).to(device) * 8
    assert proposals.float().max() > 256  # areas beyond the range of float16
    expected, wanted = value_and_gradient(function, proposals.float(), gt_boxes.float())
    loss, gradient = value_and_gradient(function, proposals, gt_boxes)
    assert loss.dtype == torch.float32 and gradient.dtype == dtype
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient, wanted.to(dtype))
    mixed = function(proposals, gt_boxes.double())
    torch.testing.assert_close(mixed, expected)


def test_autocast_changes_nothing(implementation):
    function, device = implementation
    proposals, gt_boxes = random_boxes(40, 0).float().to(device), random_boxes(9, 1).float().to(device)
    expected, wanted = value_and_gradient(function, proposals, gt_boxes)
    with torch.autocast(device.type, torch.bfloat16):
        loss, gradient = value_and_gradient(function, proposals, gt_boxes)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, rtol=0, atol=0)
    torch.testing.assert_close(gradient, wanted, rtol=0, atol=0)


def test_non_contiguous_input(implementation):
    function, device = implementation
    proposals, gt_boxes = random_boxes(30, 0).to(device), random_boxes(8, 1).to(device)
    expected, wanted = value_and_gradient(function, proposals, gt_boxes)
    strided = torch.stack([proposals.T, proposals.T], dim=2)[..., 0].T
    assert not strided.is_contiguous()
    leaf = strided.detach().requires_grad_()
    loss = function(leaf, gt_boxes.T.contiguous().T)
    loss.backward()
    torch.testing.assert_close(loss.detach(), expected)
    torch.testing.assert_close(leaf.grad, wanted)


def test_ground_truth_gets_no_gradient(implementation):
    function, device = implementation
    proposals = random_boxes(6, 0).to(device).requires_grad_()
    gt_boxes = random_boxes(3, 1).to(device).requires_grad_()
    function(proposals, gt_boxes).backward()
    assert gt_boxes.grad is None and proposals.grad.any()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_gradcheck(implementation, reduction):
    function, device = implementation
    proposals, gt_boxes = random_boxes(12, 0).to(device).requires_grad_(), random_boxes(5, 1).to(device)
    loss = functools.partial(function, gt_boxes=gt_boxes, iou_threshold=0.1, reduction=reduction)
    assert gradcheck(loss, (proposals,))


@needs_library
def test_double_backward_is_refused():
    proposals = random_boxes(4, 0).requires_grad_()
    (gradient,) = torch.autograd.grad(ops.area_loss(proposals, random_boxes(2, 1)), proposals, create_graph=True)
    with pytest.raises(NotImplementedError, match="area_loss has no second derivative"):
        gradient.sum().backward()


@needs_library
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("sizes", [(10, 4), (0, 4), (10, 0)])
@pytest.mark.parametrize("mean", [True, False])
def test_opcheck(sizes, mean, device):
    proposals, gt_boxes = random_boxes(sizes[0], 0).to(device), random_boxes(sizes[1], 1).to(device)
    for leaf in (proposals, proposals.clone().requires_grad_()):
        opcheck(torch.ops.insight.area_loss.default, (leaf, gt_boxes, 0.2, 1e-6, mean))
    loss, kept, match = torch.ops.insight.area_loss(proposals, gt_boxes, 0.2, 1e-6, mean)
    arguments = (torch.ones_like(loss), proposals, gt_boxes, match, kept, 1e-6, mean)
    opcheck(torch.ops.insight.area_loss_backward.default, arguments)


def test_compiles_as_one_graph(implementation):
    function, device = implementation
    gt_boxes = random_boxes(6, 1).to(device)
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager", dynamic=True)
    for count in (20, 31):
        proposals = random_boxes(count, count).to(device)
        expected, wanted = value_and_gradient(function, proposals, gt_boxes, iou_threshold=0.1)
        loss, gradient = value_and_gradient(compiled, proposals, gt_boxes, iou_threshold=0.1)
        torch.testing.assert_close(loss, expected)
        torch.testing.assert_close(gradient, wanted)


@needs_library
@pytest.mark.parametrize("device", DEVICES)
def test_same_bits_every_time_and_for_any_number_of_threads(device):
    proposals, gt_boxes = random_boxes(5000, 0, torch.float32).to(device), random_boxes(40, 1, torch.float32).to(device)
    threads = torch.get_num_threads()
    losses = set()
    try:
        for count in (1, 2, 3, 1):
            torch.set_num_threads(count)
            losses.add(ops.area_loss(proposals, gt_boxes).item())
    finally:
        torch.set_num_threads(threads)
    assert len(losses) == 1


@needs_library
@pytest.mark.parametrize("device", CUDA)
def test_cuda_matches_the_same_boxes_as_cpu(device, device_of):
    generator = torch.Generator().manual_seed(0)
    proposals = torch.randint(0, 30, (3000, 4), generator=generator).float() / 7
    gt_boxes = torch.randint(0, 30, (700, 4), generator=generator).float() / 7  # more than one tile
    on_cpu = torch.ops.insight.area_loss(proposals, gt_boxes, 0.3, 1e-6, False)
    device = device_of(device)
    on_gpu = torch.ops.insight.area_loss(proposals.to(device), gt_boxes.to(device), 0.3, 1e-6, False)
    assert torch.equal(on_cpu[2], on_gpu[2].cpu()) and torch.equal(on_cpu[1], on_gpu[1].cpu())
    torch.testing.assert_close(on_cpu[0], on_gpu[0].cpu())


@pytest.mark.gpu
@needs_library
def test_cuda_does_not_wait_for_the_device():
    proposals, gt_boxes = random_boxes(100, 0).cuda().requires_grad_(), random_boxes(9, 1).cuda()
    ops.area_loss(proposals, gt_boxes).backward()
    torch.cuda.set_sync_debug_mode("error")
    try:
        ops.area_loss(proposals, gt_boxes, iou_threshold=0.5).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


BOXES = torch.zeros(2, 4)


@pytest.mark.parametrize(
    "arguments, options, message",
    [
        ((torch.zeros(2, 5), BOXES), {}, r"proposals: expected shape \(N, 4\), got \(2, 5\)"),
        ((BOXES, torch.zeros(4)), {}, r"gt_boxes: expected shape \(M, 4\), got \(4,\)"),
        ((BOXES.long(), BOXES), {}, r"proposals: expected a floating-point tensor \(N, 4\), got torch.int64"),
        ((BOXES, BOXES.int()), {}, r"gt_boxes: expected a floating-point tensor \(M, 4\), got torch.int32"),
        ((BOXES.tolist(), BOXES), {}, r"proposals: expected a floating-point tensor \(N, 4\), got list"),
        ((BOXES, BOXES.numpy()), {}, r"gt_boxes: expected a floating-point tensor \(M, 4\), got ndarray"),
        ((BOXES, BOXES.to("meta")), {}, "gt_boxes: expected the device of proposals, cpu, got meta"),
        ((BOXES, BOXES), {"iou_threshold": 1.5}, r"iou_threshold: expected a number in \[0, 1\], got 1.5"),
        ((BOXES, BOXES), {"iou_threshold": float("nan")}, r"iou_threshold: expected a number in \[0, 1\], got nan"),
        ((BOXES, BOXES), {"eps": 0.0}, "eps: expected a number above 0, got 0.0"),
        ((BOXES, BOXES), {"reduction": "none"}, 'reduction: expected "mean" or "sum", got \'none\''),
    ],
)
def test_wrong_arguments_end_in_one_line(arguments, options, message):
    with pytest.raises(InputError, match=message) as caught:
        ops.area_loss(*arguments, **options)
    assert "\n" not in str(caught.value)


@needs_library
def test_the_raw_op_checks_what_the_function_would_have_converted():
    op, backward = torch.ops.insight.area_loss, torch.ops.insight.area_loss_backward
    with pytest.raises(RuntimeError, match=r"proposals: expected shape \(N, 4\), got \(2, 3\)"):
        op(torch.zeros(2, 3), BOXES, 0.0, 1e-6, True)
    with pytest.raises(RuntimeError, match="expected both float32 or both float64, got Half and Float"):
        op(BOXES.half(), BOXES, 0.0, 1e-6, True)
    assert op(BOXES, BOXES[:0], -5.0, 1e-6, True)[2].tolist() == [-1, -1]
    with pytest.raises(RuntimeError, match=r"match: expected shape \(N,\), got \(3\)"):
        backward(torch.ones(()), BOXES, BOXES, torch.zeros(3).long(), torch.tensor(2), 1e-6, True)
    with pytest.raises(RuntimeError, match="match and kept: expected int64, got Int and Long"):
        backward(torch.ones(()), BOXES, BOXES, torch.zeros(2).int(), torch.tensor(2), 1e-6, True)
    # Indices that forward never returns read nothing and give nothing.
    wild = backward(torch.ones(()), BOXES, BOXES, torch.tensor([2**40, -7]), torch.tensor(2), 1e-6, True)
    assert not wild.any()
