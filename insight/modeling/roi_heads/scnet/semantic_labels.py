"""Targets of the semantic head: the label at the centre of each of its cells."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from detectron2.structures import BitMasks, Instances, PolygonMasks
from detectron2.structures.masks import polygons_to_bitmask
from torch import Tensor

IGNORED = 255  # label of cells without a target: padding, and ignored pixels of label maps


def semantic_labels(
    targets: Sequence[Instances],
    maps: Sequence[Tensor | None],
    size: tuple[int, int],
    stride: int,
    background: int | None,
) -> Tensor:
    """Compute the labels of the cells of a grid over padded images.

    Args:
        targets: per image, the ground truth with gt_masks, gt_boxes and gt_classes.
        maps: per image integers (H, W), the label of each pixel; None for an image without a label map.
        size: (rows, columns) of the grid.
        stride: side of a cell, pixels.
        background: label outside all masks, for images without a map, whose other labels are the masks' classes; None
            ignores such images, for label maps with other labels than the instances' classes.

    Returns:
        (B, rows, columns) int64; padding is IGNORED.
    """
    device = targets[0].gt_classes.device
    labels = torch.full((len(targets), *size), IGNORED, device=device)
    for canvas, target, given in zip(labels, targets, maps, strict=True):
        if given is None and background is None:
            continue
        cells = _of_masks(target, stride, background) if given is None else _sampled(given, stride)
        canvas[: cells.shape[0], : cells.shape[1]] = cells
    return labels


def semantic_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute the cross-entropy, mean over the cells that are not IGNORED; 0 if all are.

    Args:
        logits: (B, S, H, W).
        labels: (B, H, W) int64.

    Returns:
        A scalar, float32.
    """
    total = F.cross_entropy(logits.float(), labels, ignore_index=IGNORED, reduction="sum")
    return total / (labels != IGNORED).sum().clamp(min=1)


def _sampled(pixels: Tensor, stride: int) -> Tensor:
    """The pixel of (..., H, W) at the centre of each cell whose centre lies inside."""
    return pixels[..., stride // 2 :: stride, stride // 2 :: stride]


def _of_masks(target: Instances, stride: int, background: int) -> Tensor:
    """(rows, columns) int64: the classes of one image's masks, small objects over large ones."""
    size = tuple(len(range(stride // 2, side, stride)) for side in target.image_size)
    cells = torch.full(size, background, device=target.gt_classes.device)
    if not len(target):
        return cells
    covered = _covered_cells(target.gt_masks, size, stride).to(cells.device)
    for i in target.gt_boxes.area().argsort(descending=True).tolist():
        cells[covered[i]] = target.gt_classes[i]
    return cells


def _covered_cells(masks: BitMasks | PolygonMasks, size: tuple[int, int], stride: int) -> Tensor:
    """(N, rows, columns) bool."""
    if isinstance(masks, BitMasks):
        return _sampled(masks.tensor, stride)
    # Rasterised at the grid's size: full-size bitmaps of hundreds of objects would cost more than the head.
    drawn = [polygons_to_bitmask([ring / stride for ring in polygons], *size) for polygons in masks.polygons]
    return torch.stack([torch.from_numpy(bitmap) for bitmap in drawn])
