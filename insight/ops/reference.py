"""PyTorch references of the operators: readable, differentiable, and what the kernels must compute."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from insight.errors import InputError


def area_loss(
    proposals: Tensor,
    gt_boxes: Tensor,
    *,
    iou_threshold: float = 0.0,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """Compute `insight.ops.area_loss` in PyTorch, with an (N, M) matrix of IoUs.

    Args:
        proposals: (N, 4) floating point, XYXY in pixels.
        gt_boxes: (M, 4) floating point, XYXY in the same frame.
        iou_threshold: proposals whose highest IoU is below it are left out.
        eps: added to the ground-truth area in the denominator, square pixels.
        reduction: "mean" over the proposals kept, or "sum".

    Returns:
        Scalar; float64 for float64 proposals, else float32.
    """
    dtype = area_loss_dtype(proposals)
    proposals, gt_boxes = proposals.to(dtype), gt_boxes.detach().to(dtype)
    match = match_proposals(proposals.detach(), gt_boxes, iou_threshold)
    return matched_area_loss(proposals, gt_boxes, match, eps, reduction == "mean")


def area_loss_dtype(proposals: Tensor) -> torch.dtype:
    """Return the dtype of the computation: half types represent areas only up to 65504, or to 8 bits."""
    return torch.float64 if proposals.dtype == torch.float64 else torch.float32


def match_proposals(proposals: Tensor, gt_boxes: Tensor, iou_threshold: float) -> Tensor:
    """Match each proposal to the ground-truth box of highest IoU: (N,) int64, -1 for proposals left out."""
    if len(gt_boxes) == 0:
        return proposals.new_full((len(proposals),), -1, dtype=torch.int64)
    best, match = _iou(proposals, gt_boxes).nan_to_num(nan=-1.0).max(dim=1)  # ties go to the first box
    return match.where(best >= iou_threshold, -1)


def matched_area_loss(proposals: Tensor, gt_boxes: Tensor, match: Tensor, eps: float, mean: bool) -> Tensor:
    """Compute the loss for given matches, the mean or the sum over the proposals kept."""
    if len(gt_boxes) == 0:
        return proposals[:0].sum()  # zero, and part of the graph
    kept = match >= 0
    # Proposals left out become empty boxes matched to empty boxes: zero loss and gradient, even for NaN.
    area = _area(proposals.where(kept[:, None], 0.0))
    area_gt = _area(gt_boxes[match].where(kept[:, None], 0.0))
    total = ((area - area_gt) / (area_gt + eps)).square().sum()
    return total / kept.sum().clamp(min=1) if mean else total


def area_loss_backward(
    grad: Tensor, proposals: Tensor, gt_boxes: Tensor, match: Tensor, kept: Tensor, eps: float, mean: bool
) -> Tensor:
    """Compute the gradient of `area_loss` with respect to the proposals.

    Args:
        grad: scalar, the gradient of the loss.
        proposals: (N, 4), XYXY in pixels.
        gt_boxes: (M, 4), XYXY in the same frame.
        match: (N,) int64, the ground-truth box of each proposal, -1 for those left out.
        kept: scalar int64, the number of proposals not left out.
        eps: as in `area_loss`.
        mean: whether the loss is a mean.

    Returns:
        (N, 4); zero for proposals left out.
    """
    if len(gt_boxes) == 0:
        return torch.zeros_like(proposals, memory_format=torch.contiguous_format)
    matched = match >= 0
    width, height = (proposals[:, 2:] - proposals[:, :2]).unbind(1)
    normalizer = _area(gt_boxes[match]) + eps
    scale = grad / kept.clamp(min=1) if mean else grad
    by_area = scale * 2 * ((_area(proposals) - _area(gt_boxes[match])) / normalizer) / normalizer
    # An inverted side has length zero wherever its ends are, so its gradient is zero; a side of length zero may grow.
    by_x = (by_area * height.clamp(min=0)).where(matched & (width >= 0), 0.0)
    by_y = (by_area * width.clamp(min=0)).where(matched & (height >= 0), 0.0)
    return torch.stack([-by_x, -by_y, by_x, by_y], dim=1)


def _area(boxes: Tensor) -> Tensor:
    sides = boxes[..., 2:] - boxes[..., :2]
    # Not clamp(min=0): whether its gradient at 0 is 0 or 1 has changed between versions of torch.
    sides = torch.where(sides < 0, 0.0, sides)
    return sides[..., 0] * sides[..., 1]


def _iou(a: Tensor, b: Tensor) -> Tensor:
    """(N, M) of boxes (N, 4) and (M, 4); 0 where both are empty, NaN where a coordinate is."""
    low = torch.maximum(a[:, None, :2], b[:, :2])
    high = torch.minimum(a[:, None, 2:], b[:, 2:])
    intersection = _area(torch.cat([low, high], dim=-1))
    union = _area(a)[:, None] + _area(b) - intersection
    return intersection / union.where(union != 0, 1.0)


def global_to_local_attention(local: Tensor, global_tokens: Tensor, image_index: Tensor, num_heads: int) -> Tensor:
    """Compute `insight.ops.global_to_local_attention` in PyTorch, with the keys and weights of all RoIs in memory.

    Args:
        local: (N, T, D) tokens of N RoIs.
        global_tokens: (B, G, D) tokens of B images, both keys and values.
        image_index: (N,) int64, the image of each RoI.
        num_heads: number of heads; divides D.

    Returns:
        (N, T, D): softmax(L G^T / sqrt(d)) G per head, zeros if G = 0.

    Raises:
        RuntimeError: an index in `image_index` is out of range, on the CPU.

    Source:
        Insight Any Instance (arXiv 2409.07022), section III-B2, Eq. 5.
    """
    return attend(*attention_scores(local, global_tokens, image_index, num_heads))


def attention_scores(
    local: Tensor, global_tokens: Tensor, image_index: Tensor, num_heads: int
) -> tuple[Tensor, Tensor]:
    """Compute the scores (N, heads, T, G) of the keys of each RoI, and these keys (N, heads, G, d)."""
    # Fake tensors, and tensors that torch.compile traces, have no values to check.
    if image_index.device.type == "cpu" and type(image_index) is Tensor and not torch.compiler.is_compiling():
        _check_image_index(image_index, len(global_tokens))
    queries, keys = _split_heads(local, num_heads), _split_heads(global_tokens, num_heads)
    keys = keys.index_select(0, image_index)
    return queries @ keys.transpose(2, 3) / queries.shape[3] ** 0.5, keys


def attend(scores: Tensor, keys: Tensor) -> Tensor:
    """Compute the attended tokens (N, T, D) from the output of `attention_scores`."""
    return _join_heads(scores.softmax(dim=3) @ keys)


def global_to_local_attention_backward(
    grad: Tensor, local: Tensor, global_tokens: Tensor, image_index: Tensor, num_heads: int
) -> tuple[Tensor, Tensor]:
    """Compute the gradients of `global_to_local_attention`.

    Args:
        grad: (N, T, D), the gradient of the attended tokens.
        local, global_tokens, image_index, num_heads: as in `global_to_local_attention`.

    Returns:
        The gradients of `local`, (N, T, D), and of `global_tokens`, (B, G, D).
    """
    scores, keys = attention_scores(local, global_tokens, image_index, num_heads)
    queries, grad = _split_heads(local, num_heads), _split_heads(grad, num_heads)
    weights = scores.softmax(dim=3)
    grad_weights = grad @ keys.transpose(2, 3)
    grad_scores = weights * (grad_weights - (weights * grad_weights).sum(dim=3, keepdim=True))
    grad_scores = grad_scores / queries.shape[3] ** 0.5
    grad_keys = grad_scores.transpose(2, 3) @ queries + weights.transpose(2, 3) @ grad
    grad_global = torch.zeros_like(global_tokens, memory_format=torch.contiguous_format)
    grad_global = grad_global.index_add(0, image_index, _join_heads(grad_keys))
    return _join_heads(grad_scores @ keys), grad_global


def _split_heads(tokens: Tensor, num_heads: int) -> Tensor:
    """(N, T, D) -> (N, heads, T, d)."""
    return tokens.unflatten(2, (num_heads, -1)).transpose(1, 2)


def _join_heads(tokens: Tensor) -> Tensor:
    """(N, heads, T, d) -> (N, T, D), contiguous."""
    return tokens.transpose(1, 2).flatten(2).contiguous()


def _check_image_index(image_index: Tensor, images: int) -> None:
    outside = ((image_index < 0) | (image_index >= images)).nonzero()
    if len(outside):
        position = int(outside[0])
        raise RuntimeError(
            f"image_index: expected values in [0, {images}), the batch size of global_tokens, got "
            f"{image_index[position].item()} at position {position}"
        )


def crop_resize(
    images: Tensor,
    boxes: Tensor,
    size: int | tuple[int, int],
    *,
    image_index: Tensor | None = None,
    mean: Sequence[float] | Tensor | None = None,
    std: Sequence[float] | Tensor | None = None,
    antialias: bool = True,
    pad_value: float = 0.0,
) -> Tensor:
    """Compute `insight.ops.crop_resize` in PyTorch: a loop over the boxes, each resized by two small weight matrices.

    The boxes are read on the host, which synchronises with a GPU and cannot be traced by `torch.compile`.

    Args:
        images, boxes, size, image_index, mean, std, antialias, pad_value: as in `insight.ops.crop_resize`.

    Returns:
        (N, C, height, width); float32 for uint8 images, else in their dtype.

    Raises:
        InputError: an index in `image_index` is out of range.
    """
    height, width = (size, size) if isinstance(size, int) else size
    channels = images.shape[1]
    out_dtype = images.dtype if images.is_floating_point() else torch.float32
    dtype = torch.float64 if images.dtype == torch.float64 else torch.float32
    places: dict[str, Any] = {"dtype": dtype, "device": images.device}
    mean = torch.as_tensor(0.0 if mean is None else mean, **places).reshape(-1, 1, 1)
    std = torch.as_tensor(1.0 if std is None else std, **places).reshape(-1, 1, 1)
    crops = []
    with torch.autocast(images.device.type, enabled=False):
        for window in _windows(images.shape, boxes, image_index, (height, width), antialias):
            if window is None:
                crops.append(torch.full((channels, height, width), pad_value, **places))
                continue
            crop = (images[window.pixels].to(dtype) - mean) / std
            inside = torch.outer(window.inside_y, window.inside_x).to(**places)
            rows, columns = window.rows.to(**places), window.columns.to(**places)
            crops.append(rows @ crop @ columns.T + pad_value * (1 - inside))
    if not crops:
        return images.new_empty((0, channels, height, width), dtype=out_dtype)
    return torch.stack(crops).to(out_dtype)


def crop_resize_backward(
    grad: Tensor,
    boxes: Tensor,
    image_index: Tensor | None,
    batch: int,
    image_height: int,
    image_width: int,
    std: Tensor | None,
    antialias: bool,
) -> Tensor:
    """Compute the gradient of `crop_resize` with respect to the images.

    Args:
        grad: (N, C, height, width), the gradient of the crops.
        boxes, image_index, std, antialias: as in `crop_resize`.
        batch, image_height, image_width: sizes of the images.

    Returns:
        (B, C, H, W) in the dtype of `grad`.
    """
    dtype = torch.float64 if grad.dtype == torch.float64 else torch.float32
    places: dict[str, Any] = {"dtype": dtype, "device": grad.device}
    images = torch.zeros((batch, grad.shape[1], image_height, image_width), **places)
    with torch.autocast(grad.device.type, enabled=False):
        windows = _windows(images.shape, boxes, image_index, grad.shape[2:], antialias)
        for crop, window in zip(grad.to(dtype), windows):
            if window is not None:
                images[window.pixels] += window.rows.to(**places).T @ crop @ window.columns.to(**places)
    if std is not None:
        images /= std.to(**places).reshape(-1, 1, 1)
    return images.to(grad.dtype)


class _Window(NamedTuple):
    """The weights of one crop, `rows @ images[pixels] @ columns.T`, and the share of each output inside the image."""

    pixels: tuple[int | slice, ...]
    rows: Tensor
    columns: Tensor
    inside_y: Tensor
    inside_x: Tensor


def _windows(
    shape: Sequence[int], boxes: Tensor, image_index: Tensor | None, size: Sequence[int], antialias: bool
) -> Iterator[_Window | None]:
    """The window of each box, None for one that is empty, reversed or not finite."""
    batch, _, image_height, image_width = shape
    indices = [0] * len(boxes) if image_index is None else image_index.tolist()
    for (x1, y1, x2, y2), index in zip(boxes.detach().to(torch.float32).tolist(), indices):
        if not 0 <= index < batch:
            raise InputError(f"image_index: expected values in [0, {batch}), the number of images, got {index}")
        if not (math.isfinite(x1 + y1 + x2 + y2) and x1 < x2 and y1 < y2):
            yield None
            continue
        top, rows, inside_y = _resize_weights(y1, y2, size[0], image_height, antialias)
        left, columns, inside_x = _resize_weights(x1, x2, size[1], image_width, antialias)
        pixels = index, slice(None), slice(top, top + rows.shape[1]), slice(left, left + columns.shape[1])
        yield _Window(pixels, rows, columns, inside_y, inside_x)


def _resize_weights(low: float, high: float, outputs: int, length: int, antialias: bool) -> tuple[int, Tensor, Tensor]:
    """Weights of the pixels of an image axis in the outputs of a box from `low` to `high`, in pixels.

    Returns the first pixel of non-zero weight; the weights (outputs, pixels) from that pixel on; and the share
    (outputs,) of each output's weight inside the image. float64.
    """
    scale = (high - low) / outputs
    centres = low + (torch.arange(outputs, dtype=torch.float64) + 0.5) * scale
    if antialias and scale > 1:
        first, last = math.floor(low), math.ceil(high) - 1
        radius = scale
    else:
        margin = min(0.5, (high - low) / 2)
        centres = centres.clamp(low + margin, high - margin)
        first, last = math.floor(centres[0].item() - 0.5), math.ceil(centres[-1].item() - 0.5)
        radius = 1.0
    begin, end = max(first, 0), min(last + 1, length)
    pixels = torch.arange(begin, max(begin, end), dtype=torch.float64)
    weights = (1 - (pixels + 0.5 - centres[:, None]).abs() / radius).clamp(min=0)
    if radius > 1:
        share = torch.minimum(pixels + 1, pixels.new_tensor(high)) - torch.maximum(pixels, pixels.new_tensor(low))
        weights = weights * share
        weights = weights / _triangle_sums(centres, radius, low, high)[:, None]
    inside = weights.sum(dim=1) if begin > first or end <= last else torch.ones(outputs, dtype=torch.float64)
    return min(begin, length), weights, inside


def _triangle_sums(centres: Tensor, radius: float, low: float, high: float) -> Tensor:
    """Sum over all integers k of max(0, 1 - |k + 0.5 - centre| / radius) * (the share of pixel k in [low, high]).

    The radius is above 1; the interval is longer than one pixel, and may be far too long to enumerate.
    """
    first = (centres - radius - 0.5).floor() + 1
    first = first.clamp(min=float(math.floor(low)))
    last = ((centres + radius - 0.5).ceil() - 1).clamp(max=float(math.ceil(high) - 1))
    middle = (centres - 0.5).floor().clamp(min=first - 1, max=last)  # last pixel of the rising side

    def series(begin: Tensor, end: Tensor) -> Tensor:  # the triangle is linear from `begin` to `end`
        return (end - begin + 1) * (1 - ((begin + end + 1) / 2 - centres).abs() / radius)

    def height(pixel: int) -> Tensor:
        return (1 - (pixel + 0.5 - centres).abs() / radius).clamp(min=0)

    first_missing = low - math.floor(low)
    last_missing = math.ceil(high) - high
    total = series(first, middle) + series(middle + 1, last)
    return total - first_missing * height(math.floor(low)) - last_missing * height(math.ceil(high) - 1)
