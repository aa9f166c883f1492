"""Attention to the global tokens against torch's own, which reads keys and values separately."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from harness import Case, Rival, Work
from torch import Tensor

from insight import ops

ROIS, TOKENS, KEYS, HEADS = 512, 49, 2500, 8


def cases(device: torch.device) -> Iterator[Case]:
    """512 RoIs of 49 tokens on 2,500 global tokens, 8 heads."""
    dtypes = [torch.bfloat16, torch.float32] if device.type == "cuda" else [torch.float32]
    for dtype in dtypes:
        for d in (32, 64):
            generator = torch.Generator().manual_seed(0)
            local = torch.randn(ROIS, TOKENS, HEADS * d, generator=generator).to(device, dtype)
            global_tokens = torch.randn(1, KEYS, HEADS * d, generator=generator).to(device, dtype)
            grad = torch.randn(ROIS, TOKENS, HEADS * d, generator=generator).to(device, dtype)
            for work, run in (("forward", _forward), ("forward + backward", _forward_backward)):
                yield _case(f"{dtype}, d = {d}, {work}".removeprefix("torch."), run, local, global_tokens, grad)


def _case(name: str, run: Callable, local: Tensor, global_tokens: Tensor, grad: Tensor) -> Case:
    image_index = torch.zeros(ROIS, dtype=torch.int64, device=local.device)
    half = local.dtype == torch.bfloat16
    forward = run is _forward
    # Gradients are sums over 25,088 rows, so they differ by more than single outputs.
    tolerance = (3e-2 if forward else 1e-1) if half else (1e-4 if forward else 1e-3)
    on_cuda = local.device.type == "cuda"
    has_target = half or not on_cuda  # the CUDA kernels are not optimised for float32
    rivals = {
        "sdpa": Rival(
            lambda: run(_sdpa, local, global_tokens, grad),
            (1.1 if on_cuda and not forward else 1.0) if has_target else None,
            tolerance,
        )
    }
    if forward or on_cuda:  # its backward pass takes half a minute on a CPU
        rivals["eager"] = Rival(lambda: run(_eager, local, global_tokens, grad), 5.0 if has_target else None, tolerance)
    return Case(
        name,
        lambda: run(lambda x, y: ops.global_to_local_attention(x, y, image_index, HEADS), local, global_tokens, grad),
        rivals,
        note="the rivals get the rows of the image as one matrix",
        work=_work(local, global_tokens, forward),
    )


def _work(local: Tensor, global_tokens: Tensor, forward: bool) -> Work:
    """Two matrix products forward, five more backward (scores are recomputed), as attention kernels are rated."""
    products = 2 if forward else 7
    operations = products * 2 * local.numel() * KEYS
    tensors = (local, local, global_tokens) if forward else (local,) * 5 + (global_tokens,) * 3
    return Work(sum(t.nbytes for t in tensors), operations, local.dtype)


def _split(tokens: Tensor) -> Tensor:
    """(..., D) -> (1, heads, rows, d)."""
    return tokens.reshape(1, -1, HEADS, tokens.shape[-1] // HEADS).transpose(1, 2)


def _join(heads: Tensor, like: Tensor) -> Tensor:
    return heads.transpose(1, 2).reshape(like.shape)


def _sdpa(local, global_tokens):
    keys = _split(global_tokens)
    return _join(F.scaled_dot_product_attention(_split(local), keys, keys), local)


def _eager(local, global_tokens):
    queries, keys = _split(local), _split(global_tokens)
    weights = (queries @ keys.transpose(2, 3) * queries.shape[3] ** -0.5).softmax(dim=3)
    return _join(weights @ keys, local)


@torch.no_grad()
def _forward(attention, local, global_tokens, grad):
    return attention(local, global_tokens)


def _forward_backward(attention, local, global_tokens, grad):
    local, global_tokens = local.detach().requires_grad_(), global_tokens.detach().requires_grad_()
    return torch.autograd.grad(attention(local, global_tokens), (local, global_tokens), grad)
