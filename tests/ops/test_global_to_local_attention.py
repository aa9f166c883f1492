"""global_to_local_attention: kernels, fallback and reference against torch's attention, per image in float64."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from harness import peak_memory
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses import FakeTensorMode
from torch.autograd import gradcheck, gradgradcheck
from torch.library import opcheck

from insight import ops
from insight.errors import InputError

needs_library = pytest.mark.skipif(not ops.has_ops(), reason="the compiled library is not loaded")
DEVICES = [
    pytest.param("cpu", marks=needs_library),
    pytest.param("cuda", marks=[needs_library, pytest.mark.gpu]),
]
IMPLEMENTATIONS = [
    pytest.param((ops.global_to_local_attention, "cpu"), id="compiled-cpu", marks=needs_library),
    pytest.param((ops.global_to_local_attention, "cuda"), id="compiled-cuda", marks=[needs_library, pytest.mark.gpu]),
    pytest.param((ops.global_to_local_attention, "cuda on host"), id="cuda-on-host", marks=needs_library),
    pytest.param((ops.global_to_local_attention, "fallback"), id="fallback-cpu"),
    pytest.param((ops.reference.global_to_local_attention, "cpu"), id="reference-cpu"),
]
CUDA = [pytest.param("cuda", marks=pytest.mark.gpu), "cuda on host"]
# Of the largest value. Half types: their own rounding of inputs is in the reference too, that of the output is not.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5, torch.float16: 2e-3, torch.bfloat16: 1.5e-2}


@pytest.fixture(params=IMPLEMENTATIONS)
def implementation(request, device_of):
    function, device = request.param
    return function, device_of(device)


def random_tokens(rois, tokens, images, keys, heads, d, *, dtype=torch.float32, device="cpu", seed=0):
    """local, global_tokens and an image_index in no order."""
    generator = torch.Generator().manual_seed(seed)
    local = torch.randn(rois, tokens, heads * d, generator=generator, dtype=torch.float64)
    global_tokens = torch.randn(images, keys, heads * d, generator=generator, dtype=torch.float64)
    image_index = torch.randint(0, max(1, images), (rois,), generator=generator)
    return local.to(device, dtype), global_tokens.to(device, dtype), image_index.to(device)


def by_sdpa(local, global_tokens, image_index, heads):
    """Each RoI alone, by torch's attention, in float64 on the CPU."""
    out = []
    for tokens, image in zip(local.double().cpu(), image_index.tolist()):
        queries, keys = (
            x.reshape(1, x.shape[0], heads, -1).transpose(1, 2) for x in (tokens, global_tokens[image].double().cpu())
        )
        out.append(F.scaled_dot_product_attention(queries, keys, keys).transpose(1, 2).reshape(tokens.shape))
    return torch.stack(out) if out else local.double().cpu()


def with_gradients(function, local, global_tokens, image_index, heads, grad):
    local, global_tokens = (x.detach().clone().requires_grad_() for x in (local, global_tokens))
    out = function(local, global_tokens, image_index, heads)
    return out.detach(), *torch.autograd.grad(out, (local, global_tokens), grad.to(out))


def assert_near(actual, expected, tolerance):
    assert actual.shape == expected.shape
    if actual.numel():
        scale = expected.abs().max().clamp_min(0.1)
        torch.testing.assert_close(actual.double().cpu() / scale, expected / scale, atol=tolerance, rtol=0)


def check_against_sdpa(function, local, global_tokens, image_index, heads, tolerance=None):
    grad = torch.randn(local.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64).to(local.dtype)
    actual = with_gradients(function, local, global_tokens, image_index, heads, grad)
    # The reference sees the same rounded numbers, in float64.
    inputs = (x.double().cpu() for x in (local, global_tokens))
    expected = with_gradients(by_sdpa, *inputs, image_index, heads, grad.double())
    for name, a, e in zip(("out", "grad of local", "grad of global_tokens"), actual, expected):
        assert a.dtype == local.dtype, name
        assert_near(a, e, tolerance or TOLERANCE[local.dtype])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "rois, tokens, images, keys, heads, d",
    [
        (5, 49, 3, 130, 2, 32),  # tails of rows and of keys
        (4, 16, 1, 64, 8, 16),  # no tails
        (3, 49, 2, 65, 2, 64),
        (2, 9, 2, 33, 1, 128),
        (3, 5, 2, 70, 3, 24),  # padded to a head dimension with a kernel of its own
        (3, 5, 2, 40, 3, 20),
        (2, 3, 2, 7, 2, 1),
        (1, 1, 1, 1, 1, 32),  # one token, one key: the value itself
        (2, 3, 4, 5, 1, 136),  # larger than any special case; images without RoIs
    ],
)
def test_equals_sdpa(implementation, rois, tokens, images, keys, heads, d, dtype):
    function, device = implementation
    inputs = random_tokens(rois, tokens, images, keys, heads, d, dtype=dtype, device=device)
    check_against_sdpa(function, *inputs, heads)


@needs_library
@given(
    rois=st.integers(0, 6),
    tokens=st.integers(0, 60),
    images=st.integers(1, 4),
    keys=st.integers(0, 140),
    heads=st.integers(1, 3),
    d=st.integers(1, 40),
    seed=st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_op_equals_reference(rois, tokens, images, keys, heads, d, seed):
    local, global_tokens, image_index = random_tokens(rois, tokens, images, keys, heads, d, seed=seed)
    grad = torch.randn_like(local)
    actual = with_gradients(ops.global_to_local_attention, local, global_tokens, image_index, heads, grad)
    expected = with_gradients(
        ops.reference.global_to_local_attention,
        *(local.double(), global_tokens.double(), image_index, heads, grad.double()),
    )
    for a, e in zip(actual, expected):
        assert_near(a, e, TOLERANCE[torch.float32])


def test_order_of_rois_does_not_matter(implementation):
    """RoIs of an image share blocks of rows; which ones must not show."""
    function, device = implementation
    local, global_tokens, image_index = random_tokens(11, 7, 3, 50, 2, 16, device=device)
    shuffle = torch.randperm(11, generator=torch.Generator().manual_seed(1)).to(device)
    straight = function(local, global_tokens, image_index, 2)
    shuffled = function(local[shuffle], global_tokens, image_index[shuffle], 2)
    torch.testing.assert_close(shuffled, straight[shuffle], atol=1e-6, rtol=1e-6)


def test_attends_to_the_key_that_stands_out(implementation):
    """By hand: a query along one of two orthogonal keys takes it with weight 1 / (1 + e^-s)."""
    function, device = implementation
    global_tokens = torch.tensor([[[2.0, 0.0, 0.0, 0.0], [0.0, 2.0, 0.0, 0.0]]], device=device)
    local = torch.tensor([[[3.0, 0.0, 0.0, 0.0]]], device=device)  # scores 3 * 2 / sqrt(4) = 3 and 0
    out = function(local, global_tokens, torch.zeros(1, dtype=torch.int64, device=device), 1)
    weight = 1 / (1 + torch.tensor(-3.0).exp())
    torch.testing.assert_close(out.cpu()[0, 0], torch.tensor([2 * weight, 2 * (1 - weight), 0, 0]))


@pytest.mark.parametrize("rising", [False, True], ids=["largest-first", "largest-last"])
def test_large_scores_neither_overflow_nor_lose_the_sum(implementation, rising):
    """Scores from -4,000 to 4,000 in steps of 20 and less: nearly all weights vanish, the maximum must follow."""
    function, device = implementation
    keys = 201
    global_tokens = torch.zeros(1, keys, 32)
    global_tokens[0, :, 0] = torch.arange(keys) * 20.0
    global_tokens[0, :, 1] = torch.arange(keys) % 7
    if not rising:
        global_tokens = global_tokens.flip(1)
    local = torch.zeros(2, 30, 32)
    local[..., 0] = torch.linspace(-1, 1, 60).view(2, 30) * 32**0.5
    inputs = local.to(device), global_tokens.to(device), torch.zeros(2, dtype=torch.int64, device=device)
    check_against_sdpa(function, *inputs, 1, tolerance=2e-3)  # float32 rounds a score of 4,000 by 2e-4


def test_not_a_number_stays_in_its_row(implementation):
    function, device = implementation
    local, global_tokens, image_index = random_tokens(3, 5, 2, 40, 2, 16, device=device)
    local[1, 2, 3] = float("nan")  # head 0
    out = function(local, global_tokens, image_index, 2)
    assert out[1, 2, :16].isnan().all()
    out[1, 2, :16] = 0
    assert out.isfinite().all()


@pytest.mark.parametrize("sizes", [(0, 4, 2, 5), (3, 0, 2, 5), (3, 4, 2, 0), (0, 4, 0, 5), (0, 0, 0, 0)], ids=str)
def test_empty(implementation, sizes):
    function, device = implementation
    local, global_tokens, image_index = random_tokens(*sizes, 2, 8, device=device)
    grad = torch.ones_like(local)
    out, *gradients = with_gradients(function, local, global_tokens, image_index, 2, grad)
    assert out.shape == local.shape and not out.any()
    assert [g.shape for g in gradients] == [local.shape, global_tokens.shape]
    assert not any(g.any() for g in gradients)


def test_image_without_rois_gets_zero_gradient(implementation):
    function, device = implementation
    local, global_tokens, _ = random_tokens(2, 3, 3, 20, 2, 16, device=device)
    image_index = torch.tensor([2, 0], device=device)
    _, _, grad_global = with_gradients(function, local, global_tokens, image_index, 2, torch.ones_like(local))
    assert not grad_global[1].any() and grad_global[0].any() and grad_global[2].any()


def test_non_contiguous(implementation):
    function, device = implementation
    local, global_tokens, image_index = random_tokens(4, 6, 2, 20, 2, 16, device=device)
    strided = (
        local.permute(2, 0, 1).contiguous().permute(1, 2, 0),
        torch.cat([global_tokens, global_tokens], dim=2)[..., :32],
        torch.stack([image_index, image_index], dim=1)[:, 0],
    )
    assert not any(x.is_contiguous() for x in strided)
    torch.testing.assert_close(function(*strided, 2), function(local, global_tokens, image_index, 2))
    grad = torch.ones(32, device=device).expand(4, 6, 32)
    for a, e in zip(
        with_gradients(function, *strided, 2, grad),
        with_gradients(function, local, global_tokens, image_index, 2, grad.contiguous()),
    ):
        torch.testing.assert_close(a, e)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("d", [3, 16])
def test_gradcheck(device, d):
    local, global_tokens, image_index = random_tokens(3, 4, 2, 9, 2, d, dtype=torch.float64, device=device)
    inputs = local.requires_grad_(), global_tokens.requires_grad_(), image_index, 2
    assert gradcheck(ops.global_to_local_attention, inputs)
    with pytest.raises(NotImplementedError, match="global_to_local_attention has no second derivative"):
        gradgradcheck(ops.global_to_local_attention, inputs)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_opcheck(device, dtype):
    local, global_tokens, image_index = random_tokens(3, 4, 2, 9, 2, 16, dtype=dtype, device=device)
    inputs = local.requires_grad_(), global_tokens.requires_grad_(), image_index, 2
    opcheck(torch.ops.insight.global_to_local_attention.default, inputs)
    local, global_tokens = local.detach(), global_tokens.detach()
    out, logsumexp = torch.ops.insight.global_to_local_attention(local, global_tokens, image_index, 2)
    inputs = torch.ones_like(out), local, global_tokens, image_index, out, logsumexp, 2
    opcheck(torch.ops.insight.global_to_local_attention_backward.default, inputs)


def test_compiles_as_one_graph(implementation):
    function, device = implementation
    inputs = random_tokens(4, 6, 2, 20, 2, 16, device=device)
    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend="aot_eager")
    grad = torch.randn(4, 6, 32, device=device)
    for a, e in zip(with_gradients(compiled, *inputs, 2, grad), with_gradients(function, *inputs, 2, grad)):
        torch.testing.assert_close(a, e)


def test_fake_tensors_stand_for_its_arguments(implementation):
    function, device = implementation
    with FakeTensorMode() as fake:
        inputs = [fake.from_tensor(x) for x in random_tokens(4, 6, 2, 20, 2, 16, device=device)]
        assert function(*inputs, 2).shape == (4, 6, 32)


@needs_library
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_the_matrix_of_weights_is_never_in_memory(device):
    rois, tokens, keys, heads = 64, 49, 2500, 8
    inputs = random_tokens(rois, tokens, 1, keys, heads, 32, device=device)
    local, global_tokens = (x.requires_grad_() for x in inputs[:2])

    def forward_and_backward():
        out = ops.global_to_local_attention(*inputs, heads)
        return out, *torch.autograd.grad(out, (local, global_tokens), torch.ones_like(out))

    memory = peak_memory(forward_and_backward, torch.device(device))
    if memory is None:
        pytest.skip("this system does not tell the peak of memory")
    matrix = (
        rois * tokens * heads * keys * 4
    )  # 239 MiB, of which the reference holds four; the kernels need 25 MiB for sums
    assert memory < matrix / 4


@pytest.mark.parametrize("device", DEVICES)
def test_log_sum_exp(device):
    local, global_tokens, image_index = random_tokens(5, 7, 2, 70, 2, 32, device=device)
    _, logsumexp = torch.ops.insight.global_to_local_attention(local, global_tokens, image_index, 2)
    queries = local.unflatten(2, (2, 32)).transpose(1, 2).double()
    keys = global_tokens.unflatten(2, (2, 32)).transpose(1, 2)[image_index].double()
    expected = (queries @ keys.mT / 32**0.5).logsumexp(dim=3).float()
    torch.testing.assert_close(logsumexp, expected, atol=1e-5, rtol=1e-5)


def test_autocast_casts_both_together(implementation):
    function, device = implementation
    function = ops.global_to_local_attention  # casting is the public function's, whoever computes
    local, global_tokens, image_index = random_tokens(3, 5, 2, 40, 2, 16, device=device)
    local.requires_grad_()
    with torch.autocast(device.type, torch.bfloat16):
        out = function(local, global_tokens.bfloat16(), image_index, 2)
        exact = function(local.double(), global_tokens.double(), image_index, 2)
    assert out.dtype == torch.bfloat16
    assert exact.dtype == torch.float64  # autocast leaves float64 alone
    torch.testing.assert_close(out.double(), exact, atol=2e-2, rtol=2e-2)
    out.float().sum().backward()
    assert local.grad.dtype == torch.float32


@pytest.mark.parametrize("index", [-1, 2, 2**40])
def test_image_index_out_of_range_on_the_cpu(implementation, index, request):
    function, _ = implementation
    if "cuda" in request.node.callspec.id:
        pytest.skip("on CUDA it gives NaN, as tested below")
    local, global_tokens, image_index = random_tokens(3, 2, 2, 4, 1, 8)
    image_index[1] = index
    with pytest.raises(RuntimeError, match=rf"image_index: expected values in \[0, 2\).*got {index} at position 1"):
        function(local, global_tokens, image_index, 1)


@needs_library
@pytest.mark.parametrize("device", CUDA)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_image_index_out_of_range_on_cuda(dtype, device, device_of):
    """No stall to look for it: those RoIs become NaN, the others are right."""
    device = device_of(device)
    local, global_tokens, image_index = random_tokens(9, 49, 2, 40, 2, 32, dtype=dtype, device=device)
    image_index[0], image_index[4] = -1, 2
    valid = torch.tensor([1, 2, 3, 5, 6, 7, 8], device=device)
    grad = torch.ones_like(local)
    out, grad_local, grad_global = with_gradients(
        ops.global_to_local_attention, local, global_tokens, image_index, 2, grad
    )
    assert out[[0, 4]].isnan().all() and grad_local[[0, 4]].isnan().all()
    expected = with_gradients(
        ops.global_to_local_attention, local[valid], global_tokens, image_index[valid], 2, grad[valid]
    )
    for a, e in zip((out[valid], grad_local[valid], grad_global), expected):
        torch.testing.assert_close(a, e)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"local": torch.zeros(3, 8)}, r"local: expected shape \(N, T, D\), got \(3, 8\)"),
        ({"global_tokens": torch.zeros(5, 8)}, r"global_tokens: expected shape \(B, G, D\), got \(5, 8\)"),
        ({"global_tokens": torch.zeros(2, 5, 6)}, r"global_tokens: expected shape \(B, G, 8\), .*, got \(2, 5, 6\)"),
        ({"image_index": torch.zeros(4, dtype=torch.int64)}, r"image_index: .*\(3,\), got \(4,\)"),
        ({"image_index": torch.zeros(3)}, r"image_index: expected an int64 or int32 .*, got torch.float32"),
        ({"image_index": [0, 0, 0]}, r"image_index: expected an int64 or int32 tensor \(N,\), got list"),
        ({"local": [[[0.0]]]}, r"local: expected a floating-point tensor \(N, T, D\), got list"),
        ({"global_tokens": None}, r"global_tokens: expected a .* tensor \(B, G, D\), got NoneType"),
        ({"num_heads": 2.0}, r"num_heads: expected an integer, got 2.0"),
        ({"num_heads": 3}, r"num_heads: expected a divisor of the D of local, 8, got 3"),
        ({"num_heads": 0}, r"num_heads: expected a divisor of the D of local, 8, got 0"),
        ({"global_tokens": torch.zeros(2, 5, 8).double()}, r"global_tokens: .*float32, got torch.float64"),
        (
            {"local": torch.zeros(3, 4, 8).int(), "global_tokens": torch.zeros(2, 5, 8).int()},
            r"local: expected float32, .*got torch.int32",
        ),
        ({"image_index": torch.zeros(3, dtype=torch.int64, device="meta")}, r"image_index: .*cpu, got meta"),
    ],
)
def test_errors_name_the_argument(change, message):
    arguments = {
        "local": torch.zeros(3, 4, 8),
        "global_tokens": torch.zeros(2, 5, 8),
        "image_index": torch.zeros(3, dtype=torch.int64),
        "num_heads": 2,
    } | change
    with pytest.raises(InputError, match=message):
        ops.global_to_local_attention(**arguments)


@pytest.mark.parametrize("device", DEVICES)
def test_integers_of_any_kind(device):
    local, global_tokens, image_index = random_tokens(3, 4, 2, 9, 2, 16, device=device)
    expected = ops.global_to_local_attention(local, global_tokens, image_index, 2)
    assert torch.equal(ops.global_to_local_attention(local, global_tokens, image_index.int(), np.int64(2)), expected)


@needs_library
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_cpu_gradient_has_the_same_bits_on_any_number_of_threads(dtype):
    local, global_tokens, image_index = random_tokens(40, 49, 2, 100, 2, 16, dtype=dtype)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            arguments = local, global_tokens, image_index, 2, torch.ones_like(local)
            results.append(with_gradients(ops.global_to_local_attention, *arguments))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other))


SELF_CHECK = """
import torch
from insight import ops
from tests.ops.test_global_to_local_attention import check_against_sdpa, random_tokens
for d in (16, 32, 64, 5):
    check_against_sdpa(ops.global_to_local_attention, *random_tokens(5, 49, 2, 130, 2, d), 2)
"""


@needs_library
@pytest.mark.parametrize("capability", ["default", "avx2"])
def test_kernels_of_lesser_processors(capability):
    """The kernel is chosen once a process, so the ones this processor would not take need processes of their own."""
    environment = os.environ | {"ATEN_CPU_CAPABILITY": capability, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run([sys.executable, "-c", SELF_CHECK], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
