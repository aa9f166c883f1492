"""Proposal area loss: how far the areas of proposals are from those of their ground-truth boxes."""

import torch
from torch import Tensor

from . import _ext, reference
from ._arguments import check_device, describe, is_floating_point


def area_loss(
    proposals: Tensor,
    gt_boxes: Tensor,
    *,
    iou_threshold: float = 0.0,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """Mean or sum of ((Ap - Ag) / (Ag + eps))^2 over the proposals of one image, each matched by highest IoU.

    Each proposal takes the ground-truth box of highest IoU, of equal ones the first. Gradients reach the proposals
    through their areas, not through the matching; ground-truth boxes get none. The loss has no upper bound: a proposal
    of 10 times the area costs 81, and a ground-truth box of zero area makes the loss explode, so drop such boxes.

    Corner cases: a box with x2 < x1 or y2 < y1 has zero area, and its inverted side gets no gradient (a side of length
    0 does, so that it can grow). The IoU of two boxes of zero area is 0. A proposal with a NaN coordinate is left out,
    a ground-truth box with one is never chosen. Nothing kept, no proposals or no ground truth gives 0 with zero
    gradients, so that backward always works.

    Args:
        proposals: (N, 4) floating point, XYXY in pixels. Half types are computed in float32.
        gt_boxes: (M, 4) floating point, XYXY in the frame of the proposals, on their device.
        iou_threshold: in [0, 1]; proposals whose highest IoU is below it are left out. 0 keeps all that are not NaN,
            which is the paper's algorithm to the letter.
        eps: > 0, square pixels; keeps the division defined.
        reduction: "mean" over the proposals kept, or "sum".

    Returns:
        Scalar; float64 for float64 proposals, else float32.

    Raises:
        TypeError: if the proposals or ground-truth boxes are not a floating-point tensor.
        ValueError: if a shape, a device or an option is wrong.

    Source:
        Insight Any Instance (arXiv 2409.07022), section III-B, Algorithm 1. Its lines 4 to 9 bring both sets of boxes
        to one scale; here they are in one frame already.
    """
    for name, boxes, expected in (("proposals", proposals, "(N, 4)"), ("gt_boxes", gt_boxes, "(M, 4)")):
        if not is_floating_point(boxes):
            raise TypeError(f"{name} must be a floating-point tensor {expected}, got {describe(boxes)}")
        if boxes.dim() != 2 or boxes.shape[1] != 4:
            raise ValueError(f"{name} must have shape {expected}, got {tuple(boxes.shape)}")
    check_device("gt_boxes", gt_boxes, "proposals", proposals)
    if not 0.0 <= iou_threshold <= 1.0:
        raise ValueError(f"iou_threshold must be in [0, 1], got {iou_threshold}")
    if not eps > 0.0:
        raise ValueError(f"eps must be above 0, got {eps}")
    if reduction not in ("mean", "sum"):
        raise ValueError(f'reduction must be "mean" or "sum", got {reduction!r}')

    if not _ext.compiled_for(proposals.device):
        return reference.area_loss(proposals, gt_boxes, iou_threshold=iou_threshold, eps=eps, reduction=reduction)
    # Autocast needs no rule of its own: whatever comes in, the kernels get float32 or float64.
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
    raise NotImplementedError("insight.ops.area_loss has no second derivative")


if _ext.has_ops():
    torch.library.register_fake("insight::area_loss", _fake)
    torch.library.register_fake("insight::area_loss_backward", _fake_backward)
    torch.library.register_autograd("insight::area_loss", _backward, setup_context=_setup_context)
    torch.library.register_autograd("insight::area_loss_backward", _double_backward)
