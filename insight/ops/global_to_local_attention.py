"""Attention from the tokens of each RoI to the global tokens of its image."""

import torch
from torch import Tensor

from insight.errors import InputError

from . import reference
from ._arguments import as_image_index, as_integer, check_device, describe
from ._ext import register, warn_of_fallback

_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def global_to_local_attention(local: Tensor, global_tokens: Tensor, image_index: Tensor, num_heads: int) -> Tensor:
    """Attend from the local tokens of each RoI to all global tokens of its image, in one streaming pass.

    Per head, with head dimension d = D / num_heads, compute softmax(L G^T / sqrt(d)) G: the global tokens are both keys
    and values. The (N * T) x G matrix of weights is never materialised, neither in the forward nor in the backward
    pass. One call handles RoIs of different images, in any order.

    Args:
        local: (N, T, D) tokens of N RoIs; float32, float64, float16 or bfloat16. Half types are accumulated in float32.
        global_tokens: (B, G, D) tokens of B images; dtype and device of `local`. Receives a gradient, as `local` does.
            G = 0 gives zeros.
        image_index: (N,) int64 or int32, the image of each RoI, in [0, B). On the CPU, an index out of range raises a
            RuntimeError. On CUDA, where a check would synchronise with the host, it gives NaN in the output and the
            gradient of the RoI.
        num_heads: number of heads; divides D.

    Returns:
        (N, T, D) in the dtype of `local`, or in the autocast dtype if autocast is on and the inputs are not float64.

    Raises:
        InputError: an argument has the wrong type, dtype, shape, device or value.

    Source:
        Insight Any Instance (arXiv 2409.07022), section III-B2, Eq. 5.
    """
    for name, tensor, shape in (("local", local, "(N, T, D)"), ("global_tokens", global_tokens, "(B, G, D)")):
        if not isinstance(tensor, Tensor):
            raise InputError(f"{name}: expected a floating-point tensor {shape}, got {describe(tensor)}")
    num_heads = as_integer(num_heads, "num_heads: expected an integer", num_heads)
    device = local.device.type
    if torch.is_autocast_enabled(device) and local.dtype != torch.float64 and global_tokens.dtype != torch.float64:
        dtype = torch.get_autocast_dtype(device)
        local, global_tokens = local.to(dtype), global_tokens.to(dtype)
    _check_tokens(local, global_tokens, num_heads)
    image_index = as_image_index(image_index, "local", local)
    warn_of_fallback(local.device)
    return torch.ops.insight.global_to_local_attention.default(local, global_tokens, image_index, num_heads)[0]


def _check_tokens(local: Tensor, global_tokens: Tensor, num_heads: int) -> None:
    if local.dim() != 3:
        raise InputError(f"local: expected shape (N, T, D), got {tuple(local.shape)}")
    if global_tokens.dim() != 3:
        raise InputError(f"global_tokens: expected shape (B, G, D), got {tuple(global_tokens.shape)}")
    if local.shape[2] != global_tokens.shape[2]:
        raise InputError(
            f"global_tokens: expected shape (B, G, {local.shape[2]}), with the D of local, "
            f"got {tuple(global_tokens.shape)}"
        )
    if num_heads < 1 or local.shape[2] < 1 or local.shape[2] % num_heads:
        raise InputError(f"num_heads: expected a divisor of the D of local, {local.shape[2]}, got {num_heads}")
    if local.dtype not in _DTYPES:
        raise InputError(f"local: expected float32, float64, float16 or bfloat16, got {local.dtype}")
    if global_tokens.dtype != local.dtype:
        raise InputError(f"global_tokens: expected the dtype of local, {local.dtype}, got {global_tokens.dtype}")
    check_device("global_tokens", global_tokens, "local", local)


def _fake(local, global_tokens, image_index, num_heads):
    statistics = torch.float64 if local.dtype == torch.float64 else torch.float32
    logsumexp = local.new_empty((local.shape[0], num_heads, local.shape[1]), dtype=statistics)
    return local.new_empty(local.shape), logsumexp


def _fake_backward(grad, local, global_tokens, image_index, out, logsumexp, num_heads):
    return local.new_empty(local.shape), global_tokens.new_empty(global_tokens.shape)


def _fallback(local, global_tokens, image_index, num_heads):
    with torch.autocast(local.device.type, enabled=False):
        scores, keys = reference.attention_scores(local, global_tokens, image_index, num_heads)
        statistics = torch.float64 if local.dtype == torch.float64 else torch.float32
        return reference.attend(scores, keys), scores.to(statistics).logsumexp(dim=3)


def _fallback_backward(grad, local, global_tokens, image_index, out, logsumexp, num_heads):
    with torch.autocast(local.device.type, enabled=False):
        return reference.global_to_local_attention_backward(grad, local, global_tokens, image_index, num_heads)


def _setup_context(ctx, inputs, output):
    local, global_tokens, image_index, ctx.num_heads = inputs
    out, logsumexp = output
    ctx.mark_non_differentiable(logsumexp)
    ctx.save_for_backward(local, global_tokens, image_index, out, logsumexp)


def _backward(ctx, grad, grad_logsumexp):
    gradients = torch.ops.insight.global_to_local_attention_backward.default(grad, *ctx.saved_tensors, ctx.num_heads)
    return *gradients, None, None


def _double_backward(ctx, *grads):
    raise NotImplementedError(
        "insight.ops.global_to_local_attention has no second derivative; "
        "insight.ops.reference.global_to_local_attention has"
    )


register(
    "global_to_local_attention",
    "(Tensor local, Tensor global_tokens, Tensor image_index, int num_heads) -> (Tensor, Tensor)",
    fallback=_fallback,
    fake=_fake,
    backward=_backward,
    setup_context=_setup_context,
)
register(
    "global_to_local_attention_backward",
    "(Tensor grad, Tensor local, Tensor global_tokens, Tensor image_index, Tensor out, Tensor logsumexp, "
    "int num_heads) -> (Tensor, Tensor)",
    fallback=_fallback_backward,
    fake=_fake_backward,
    backward=_double_backward,
)
