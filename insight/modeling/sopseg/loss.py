"""SOPSeg's training loss: masks and edges at every scale, and the predicted IoU."""

import torch
from torch import Tensor
from torch.nn import functional as F

from insight.errors import InputError

from .decoders import MaskPrediction


def sopseg_loss(prediction: MaskPrediction, masks: Tensor, iou_weight: float = 5.0) -> dict[str, Tensor]:
    """Compute the terms of the loss, to be summed.

    Decoders without edges get the mask terms at the scales that they predict, and the IoU term.

    Args:
        prediction: masks of N prompts, in crops of H x W pixels.
        masks: (N, H, W) bool or 0 / 1, the ground truth, crop pixels.
        iou_weight: weight of the IoU term (lambda_iou).

    Returns:
        Scalars by name: "loss_mask_i" and, if edges are predicted, "loss_edge_i" for each scale i, each the sum of
        binary cross-entropy and Dice loss, and "loss_iou", weighted. All are 0, with a gradient, if N = 0.

    Raises:
        InputError: masks and prediction differ in shape.

    Source: SOPSeg, Eq. 13. The paper does not say how masks are downsampled: here a pixel is foreground if at least
    half of it is. The true IoU is that at the crop's resolution.
    """
    logits = prediction.mask_logits
    expected = tuple(logits[:, 0].shape)
    if masks.shape != expected:
        raise InputError(f"masks: expected shape {expected}, as the prediction, got {tuple(masks.shape)}")
    masks = masks[:, None].float()
    losses = {}
    for scale, stage in prediction.stages.items():
        target = (F.avg_pool2d(masks, scale) >= 0.5).float()
        losses[f"loss_mask_{scale}"] = _bce_and_dice(stage[:, :1].float(), target)
        if stage.shape[1] > 1:
            losses[f"loss_edge_{scale}"] = _bce_and_dice(stage[:, 1:].float(), edge_targets(target))
    true_iou = mask_iou(logits.detach() > 0, masks > 0)[:, 0]
    losses["loss_iou"] = iou_weight * _mean(F.smooth_l1_loss(prediction.iou.float(), true_iou, reduction="none"))
    return losses


def edge_targets(masks: Tensor) -> Tensor:
    """Compute soft edges: the morphological gradient (3 x 3 dilation minus erosion), smoothed with a 3 x 3 Gaussian.

    The border of the map is no edge of an object that extends beyond it.

    Args:
        masks: (N, 1, h, w) float, 0 or 1.

    Returns:
        (N, 1, h, w) float, 0 to 1.

    Source: SOPSeg, Optimization Objective; the paper does not name the edge operator.
    """
    dilated = F.max_pool2d(masks, 3, stride=1, padding=1)
    eroded = -F.max_pool2d(-masks, 3, stride=1, padding=1)
    line = masks.new_tensor([0.25, 0.5, 0.25])
    kernel = torch.outer(line, line)[None, None]
    return F.conv2d(F.pad(dilated - eroded, (1, 1, 1, 1), mode="replicate"), kernel)


def mask_iou(predicted: Tensor, true: Tensor) -> Tensor:
    """Compute the intersection over union of pairs of masks.

    Args:
        predicted: (..., h, w) bool.
        true: (..., h, w) bool.

    Returns:
        (...) float; 0 if both masks are empty.
    """
    intersection = (predicted & true).sum((-2, -1))
    union = (predicted | true).sum((-2, -1))
    return intersection / union.clamp(min=1)


def _bce_and_dice(logits: Tensor, target: Tensor) -> Tensor:
    bce = F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean((1, 2, 3))
    # Squares in the denominator (Milletari et al. 2016): with soft targets, the minimum is at the target itself.
    probability = logits.sigmoid()
    overlap = 2 * (probability * target).sum((1, 2, 3))
    total = (probability.square() + target.square()).sum((1, 2, 3))
    return _mean(bce + 1 - (overlap + 1) / (total + 1))


def _mean(per_prompt: Tensor) -> Tensor:
    return per_prompt.sum() / max(len(per_prompt), 1)
