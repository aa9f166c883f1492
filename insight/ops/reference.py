"""The readable PyTorch twin of each op, with the same signature: what the kernels must compute."""

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

    Source:
        Insight Any Instance (arXiv 2409.07022), section III-B2, Eq. 5.
    """
    queries = local.unflatten(2, (num_heads, -1)).transpose(1, 2)  # (N, heads, T, d)
    keys = global_tokens.unflatten(2, (num_heads, -1)).transpose(1, 2)  # (B, heads, G, d)
    keys = keys.index_select(0, image_index)  # (N, heads, G, d)
    scores = queries @ keys.transpose(2, 3) / queries.shape[3] ** 0.5  # (N, heads, T, G)
    return (scores.softmax(dim=3) @ keys).transpose(1, 2).flatten(2)
