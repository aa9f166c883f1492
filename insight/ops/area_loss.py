"""Proposal area loss: penalises proposals whose areas differ from those of their ground-truth boxes."""

import torch
from torch import Tensor

from insight.errors import InputError

from . import reference
from ._arguments import check_boxes, check_device
from ._ext import register, warn_of_fallback


def area_loss(
    proposals: Tensor,
    gt_boxes: Tensor,
    *,
    iou_threshold: float = 0.0,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """Compute the mean or sum of ((Ap - Ag) / (Ag + eps))^2 over the proposals of one image.

    Each proposal (area Ap) is matched to the ground-truth box (area Ag) of highest IoU; ties go to the first box.
    Gradients flow to the proposals through their areas, not through the matching; ground-truth boxes get none. The loss
    is unbounded: a proposal of 10 times the area costs 81, and a ground-truth box of zero area makes the loss explode,
    so remove such boxes.

    A box with x2 < x1 or y2 < y1 has zero area, and its inverted side gets no gradient (a side of length 0 does, so
    that it can grow). The IoU of two boxes of zero area is 0. Proposals with NaN coordinates are left out, and
    ground-truth boxes with NaN coordinates are never matched. If no proposal is kept, or there are no ground-truth
    boxes, the loss is 0 with zero gradients.

    Args:
        proposals: (N, 4) floating point, XYXY in pixels. Half types are computed in float32.
        gt_boxes: (M, 4) floating point, XYXY in the same frame and on the same device as the proposals.
        iou_threshold: in [0, 1]; proposals whose highest IoU is below it are left out. 0, the algorithm of the paper,
            keeps all proposals without NaN.
        eps: > 0, square pixels; avoids division by zero.
        reduction: "mean" over the proposals kept, or "sum".

    Returns:
        Scalar; float64 for float64 proposals, else float32.

    Raises:
        InputError: an argument has the wrong type, dtype, shape, device or value.

    Source:
        Insight Any Instance (arXiv 2409.07022), section III-B, Algorithm 1. Its lines 4 to 9 bring both sets of boxes
        to the same scale; here they must already be in the same frame.
    """
    check_boxes("proposals", proposals, "(N, 4)")
    check_boxes("gt_boxes", gt_boxes, "(M, 4)")
    check_device("gt_boxes", gt_boxes, "proposals", proposals)
    if not 0.0 <= iou_threshold <= 1.0:
        raise InputError(f"iou_threshold: expected a number in [0, 1], got {iou_threshold}")
    if not eps > 0.0:
        raise InputError(f"eps: expected a number above 0, got {eps}")
    if reduction not in ("mean", "sum"):
        raise InputError(f'reduction: expected "mean" or "sum", got {reduction!r}')

    warn_of_fallback(proposals.device)
    # Autocast needs no rule of its own: the kernels get float32 or float64 whatever the dtype of the arguments.
    dtype = reference.area_loss_dtype(proposals)
    loss, _, _ = torch.ops.insight.area_loss.default(
        proposals.to(dtype), gt_boxes.detach().to(dtype), iou_threshold, eps, reduction == "mean"
    )
    return loss


def _fake(proposals, gt_boxes, iou_threshold, eps, mean):
    match = proposals.new_empty(proposals.shape[:1], dtype=torch.int64)
    return proposals.new_empty(()), proposals.new_empty((), dtype=torch.int64), match


def _fake_backward(grad, proposals, gt_boxes, match, kept, eps, mean):
    return torch.empty_like(proposals, memory_format=torch.contiguous_format)


def _fallback(proposals, gt_boxes, iou_threshold, eps, mean):
    match = reference.match_proposals(proposals, gt_boxes, iou_threshold)
    return reference.matched_area_loss(proposals, gt_boxes, match, eps, mean), (match >= 0).sum(), match


def _setup_context(ctx, inputs, output):
    proposals, gt_boxes, _, ctx.eps, ctx.mean = inputs
    _, kept, match = output
    ctx.mark_non_differentiable(kept, match)
    ctx.save_for_backward(proposals, gt_boxes, match, kept)


def _backward(ctx, grad, grad_kept, grad_match):
    proposals, gt_boxes, match, kept = ctx.saved_tensors
    gradient = None
    if ctx.needs_input_grad[0]:
        gradient = torch.ops.insight.area_loss_backward.default(
            grad, proposals, gt_boxes, match, kept, ctx.eps, ctx.mean
        )
    return gradient, None, None, None, None


def _double_backward(ctx, grad):
    raise NotImplementedError("insight.ops.area_loss has no second derivative; insight.ops.reference.area_loss has")


register(
    "area_loss",
    "(Tensor proposals, Tensor gt_boxes, float iou_threshold, float eps, bool mean) -> (Tensor, Tensor, Tensor)",
    fallback=_fallback,
    fake=_fake,
    backward=_backward,
    setup_context=_setup_context,
)
register(
    "area_loss_backward",
    "(Tensor grad, Tensor proposals, Tensor gt_boxes, Tensor match, Tensor kept, float eps, bool mean) -> Tensor",
    fallback=reference.area_loss_backward,
    fake=_fake_backward,
    backward=_double_backward,
)
