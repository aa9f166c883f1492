"""Edge targets against OpenCV, the loss against its formula in numpy, and its minimum at the truth."""

import cv2
import numpy as np
import pytest
import torch

from insight.modeling.sopseg import MaskPrediction, sopseg_loss
from insight.modeling.sopseg.loss import edge_targets, mask_iou


def ellipse(size=64, centre=(30, 34), axes=(20, 11), angle=30):
    return torch.tensor(cv2.ellipse(np.zeros((size, size), np.uint8), centre, axes, angle, 0, 360, 1, -1)).bool()


def prediction_of(mask, edge, iou, scales=(1, 2, 4)):
    """A prediction whose stages are the given full-resolution logits, averaged."""
    full = torch.stack([mask, edge], 1) if edge is not None else mask[:, None]
    stages = {i: torch.nn.functional.avg_pool2d(full, i) for i in scales}
    return MaskPrediction(mask[:, None], None if edge is None else edge[:, None], iou, stages)


def test_edge_targets_equal_opencv():
    masks = torch.stack([ellipse(), ellipse(centre=(0, 10)), torch.zeros(64, 64).bool()])
    found = edge_targets(masks[:, None].float())[:, 0].numpy()
    for mask, edge in zip(masks.numpy().astype(np.uint8), found):
        gradient = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)).astype(np.float32)
        expected = cv2.GaussianBlur(gradient, (3, 3), 0, borderType=cv2.BORDER_REPLICATE)
        np.testing.assert_allclose(edge, expected, atol=1e-6)


def test_no_edge_where_an_object_leaves_the_crop():
    assert edge_targets(torch.ones(1, 1, 32, 32)).max() == 0


def test_equals_the_formula():
    torch.manual_seed(0)
    masks = torch.stack([ellipse(), ellipse(angle=100)])
    logits, edges, iou = torch.randn(2, 64, 64), torch.randn(2, 64, 64), torch.tensor([0.2, 1.9])
    losses = sopseg_loss(prediction_of(logits, edges, iou), masks, iou_weight=5.0)

    def bce_and_dice(z, t):
        p = 1 / (1 + np.exp(-z))
        bce = -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean()
        return bce + 1 - (2 * (p * t).sum() + 1) / ((p**2).sum() + (t**2).sum() + 1)

    truth = masks.numpy().astype(np.float64)
    for i in (1, 2, 4):
        pooled = truth.reshape(2, 64 // i, i, 64 // i, i).mean((2, 4))
        target = (pooled >= 0.5).astype(np.float64)
        edge = edge_targets(torch.tensor(target)[:, None].float())[:, 0].double().numpy()
        z_mask, z_edge = (x.double().numpy().reshape(2, 64 // i, i, 64 // i, i).mean((2, 4)) for x in (logits, edges))
        assert float(losses[f"loss_mask_{i}"]) == pytest.approx(
            np.mean([bce_and_dice(z, t) for z, t in zip(z_mask, target)]), rel=1e-5
        )
        assert float(losses[f"loss_edge_{i}"]) == pytest.approx(
            np.mean([bce_and_dice(z, t) for z, t in zip(z_edge, edge)]), rel=1e-5
        )
    predicted = logits.numpy() > 0
    true_iou = [(p & t).sum() / (p | t).sum() for p, t in zip(predicted, masks.numpy())]
    smooth_l1 = [0.5 * d**2 if d < 1 else d - 0.5 for d in np.abs(iou.numpy() - true_iou)]
    assert float(losses["loss_iou"]) == pytest.approx(5 * np.mean(smooth_l1), rel=1e-5)
    assert len(losses) == 7


def test_soft_targets_are_their_own_minimum():
    """Dice with plain sums would be less at a harder edge than the target's."""
    mask = ellipse()
    target = edge_targets(mask[None, None].float())
    edge = target[:, 0].logit(1e-6).requires_grad_()
    certain = torch.where(mask, 20.0, -20.0)[None]
    losses = sopseg_loss(prediction_of(certain, edge, torch.ones(1), scales=(1,)), mask[None])
    losses["loss_edge_1"].backward()
    assert edge.grad.abs().max() < 1e-7
    assert losses["loss_mask_1"] < 1e-4 and losses["loss_iou"] == 0


def test_decoders_without_edges():
    losses = sopseg_loss(prediction_of(torch.randn(2, 64, 64), None, torch.ones(2), scales=(4,)), torch.ones(2, 64, 64))
    assert set(losses) == {"loss_mask_4", "loss_iou"}


def test_the_true_iou_gets_no_gradient():
    logits = torch.randn(1, 64, 64, requires_grad=True)
    sopseg_loss(prediction_of(logits, None, torch.zeros(1, requires_grad=True)), ellipse()[None])["loss_iou"].backward()
    assert logits.grad is None


def test_no_prompts():
    empty = torch.zeros(0, 64, 64, requires_grad=True)
    losses = sopseg_loss(prediction_of(empty, empty, torch.zeros(0)), torch.zeros(0, 64, 64))
    sum(losses.values()).backward()
    assert all(loss == 0 for loss in losses.values())


def test_iou_of_empty_masks():
    nothing = torch.zeros(1, 4, 4, dtype=torch.bool)
    assert mask_iou(nothing, nothing).item() == 0
    assert mask_iou(~nothing, ~nothing).item() == 1


def test_bad_masks():
    with pytest.raises(ValueError, match=r"masks: expected shape \(2, 64, 64\), as the prediction, got \(2, 32, 32\)"):
        sopseg_loss(prediction_of(torch.zeros(2, 64, 64), None, torch.zeros(2)), torch.zeros(2, 32, 32))
