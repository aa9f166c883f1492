"""The readable PyTorch twin of each op, with the same signature: what the kernels must compute."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


def area_loss(
    proposals: Tensor,
    gt_boxes: Tensor,
    *,
    iou_threshold: float = 0.0,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """Twin of `insight.ops.area_loss`; makes an (N, M) matrix of IoUs.

    Args:
        proposals: (N, 4) floating point, XYXY in pixels.
        gt_boxes: (M, 4) floating point, XYXY in the same frame.
        iou_threshold: proposals whose highest IoU is below it are left out.
        eps: added to the area of the ground truth in the division, square pixels.
        reduction: "mean" over the proposals kept, or "sum".

    Returns:
        Scalar; float64 for float64 proposals, else float32.
    """
    dtype = area_loss_dtype(proposals)
    proposals, gt_boxes = proposals.to(dtype), gt_boxes.detach().to(dtype)
    if len(gt_boxes) == 0:
        return proposals[:0].sum()  # zero, and in the graph
    best, match = _iou(proposals.detach(), gt_boxes).nan_to_num(nan=-1.0).max(dim=1)  # the first of equals
    kept = best >= iou_threshold
    # What is left out becomes an empty box matched to an empty box: neither loss nor gradient, even where it is NaN.
    area = _area(proposals.where(kept[:, None], 0.0))
    area_gt = _area(gt_boxes[match].where(kept[:, None], 0.0))
    total = ((area - area_gt) / (area_gt + eps)).square().sum()
    return total / kept.sum().clamp(min=1) if reduction == "mean" else total


def area_loss_dtype(proposals: Tensor) -> torch.dtype:
    """The type in which the loss is computed: half types hold areas only up to 65504, or to 8 bits."""
    return torch.float64 if proposals.dtype == torch.float64 else torch.float32


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
    """Twin of `insight.ops.global_to_local_attention`; holds each RoI's keys and weights in memory.

    Args:
        local: (N, T, D) tokens of N RoIs.
        global_tokens: (B, G, D) tokens of B images, keys and values at once.
        image_index: (N,) int64, the image of each RoI.
        num_heads: number of heads; divides D.

    Returns:
        (N, T, D): softmax(L G^T / sqrt(d)) G per head, zeros where G = 0.

    Raises:
        RuntimeError: on the CPU, an image_index is out of range.

    Source:
        Insight Any Instance (arXiv 2409.07022), section III-B2, Eq. 5.
    """
    # While torch.compile or a fake tensor stands for it, there is no value to look at.
    if image_index.device.type == "cpu" and type(image_index) is Tensor and not torch.compiler.is_compiling():
        _check_image_index(image_index, len(global_tokens))
    queries = local.unflatten(2, (num_heads, -1)).transpose(1, 2)  # (N, heads, T, d)
    keys = global_tokens.unflatten(2, (num_heads, -1)).transpose(1, 2)  # (B, heads, G, d)
    keys = keys.index_select(0, image_index)  # (N, heads, G, d)
    scores = queries @ keys.transpose(2, 3) / queries.shape[3] ** 0.5  # (N, heads, T, G)
    return (scores.softmax(dim=3) @ keys).transpose(1, 2).flatten(2)


def _check_image_index(image_index: Tensor, images: int) -> None:
    outside = ((image_index < 0) | (image_index >= images)).nonzero()
    if len(outside):
        position = outside[0].item()
        raise RuntimeError(
            f"image_index must lie in [0, {images}), the batch size of global_tokens; got "
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
    """Twin of `insight.ops.crop_resize`: a loop over the boxes, each a product of two small matrices of weights.

    It reads the boxes on the host, so a GPU is waited for, and `torch.compile` cannot look into it: where it stands in
    for the kernels of `insight.ops.crop_resize`, it is a kernel of the op like them.
    """
    height, width = (size, size) if isinstance(size, int) else size
    channels = images.shape[1]
    out_dtype = images.dtype if images.is_floating_point() else torch.float32
    dtype = torch.float64 if images.dtype == torch.float64 else torch.float32
    places = {"dtype": dtype, "device": images.device}
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
    """What `crop_resize` hands back to its images: each output's gradient, by the same weights, to what it was made of.

    Args:
        grad: (N, C, height, width), of the crops.
        boxes, image_index, std, antialias: as `crop_resize`'s.
        batch, image_height, image_width: of the images.

    Returns:
        (B, C, H, W) in the dtype of `grad`.
    """
    dtype = torch.float64 if grad.dtype == torch.float64 else torch.float32
    places = {"dtype": dtype, "device": grad.device}
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
    """What one crop is made of: `rows @ images[pixels] @ columns.T`, and the share of each output that lies inside."""

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
            raise ValueError(f"image_index must lie in [0, {batch}), the number of images, got {index}")
        if not (math.isfinite(x1 + y1 + x2 + y2) and x1 < x2 and y1 < y2):
            yield None
            continue
        top, rows, inside_y = _resize_weights(y1, y2, size[0], image_height, antialias)
        left, columns, inside_x = _resize_weights(x1, x2, size[1], image_width, antialias)
        pixels = index, slice(None), slice(top, top + rows.shape[1]), slice(left, left + columns.shape[1])
        yield _Window(pixels, rows, columns, inside_y, inside_x)


def _resize_weights(low: float, high: float, outputs: int, length: int, antialias: bool) -> tuple[int, Tensor, Tensor]:
    """How much each pixel of an image axis counts in each output of a box's axis.

    Args:
        low, high: the box's interval of the axis, pixels.
        outputs: into how many it is resized.
        length: pixels of the image along the axis.
        antialias: filter where it shrinks.

    Returns:
        The first pixel that counts; the weights (outputs, pixels) of it and those after it; the share (outputs,) of
        each output's weight that lies in the image. float64.
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
    """Sum of max(0, 1 - |k + 0.5 - centre| / radius) * (the share of pixel k in [low, high]) over all integers k.

    Args:
        centres: (outputs,) float64.
        radius: of the triangle, more than 1.
        low, high: the interval, more than one pixel long, possibly far too long to enumerate.

    Returns:
        (outputs,) float64.
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
