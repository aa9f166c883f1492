"""The fused proposal area loss against its PyTorch reference and a loss built on torchvision's box_iou."""

from collections.abc import Iterator

import torch
from harness import Case, Rival
from torch import Tensor
from torchvision.ops import box_area, box_iou

from insight import ops


def cases(device: torch.device) -> Iterator[Case]:
    """The sizes of one image: the proposals of an RPN, in a crowded and a sparse scene, and the anchors of a level."""
    target = 10.0 if device.type == "cuda" else 5.0
    for count, gt_count in ((2_000, 300), (2_000, 10), (20_000, 300)):
        proposals, gt_boxes = _boxes(count, 0).to(device), _boxes(gt_count, 1).to(device)
        for work, run in (("forward", _forward), ("forward + backward", _forward_backward)):
            yield Case(
                f"{count:,} proposals x {gt_count} gt, {work}",
                _call(run, ops.area_loss, proposals, gt_boxes),
                {
                    "twin": Rival(
                        _call(run, ops.reference.area_loss, proposals, gt_boxes),
                        target if (count, gt_count) == (2_000, 300) else None,
                    ),
                    "torchvision box_iou": Rival(_call(run, _on_torchvision, proposals, gt_boxes)),
                },
            )


def _boxes(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 2, generator=generator) * 700
    return torch.cat([low, low + torch.rand(count, 2, generator=generator) * 100 + 4], dim=1)


def _on_torchvision(proposals: Tensor, gt_boxes: Tensor) -> Tensor:
    match = box_iou(proposals.detach(), gt_boxes).argmax(dim=1)
    area_gt = box_area(gt_boxes)[match]
    return ((box_area(proposals) - area_gt) / (area_gt + 1e-6)).square().mean()


def _call(run, loss, proposals, gt_boxes):
    return lambda: run(loss, proposals, gt_boxes)


@torch.no_grad()
def _forward(loss, proposals, gt_boxes):
    return loss(proposals, gt_boxes)


def _forward_backward(loss, proposals, gt_boxes):
    leaf = proposals.detach().requires_grad_()
    return torch.autograd.grad(loss(leaf, gt_boxes), leaf)
