"""How well the proposals of a detector cover the objects: average recall, and the error of their areas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from detectron2.data import DatasetCatalog
from detectron2.structures import Boxes, pairwise_iou
from torch import Tensor

from insight.data.entries import ground_truth_boxes, read_entry_image
from insight.runtime.progress import progress

from .coco import AREA_PROFILES

if TYPE_CHECKING:
    from insight.inference.predictor import PromptPredictor

FEW = 100  # proposals of "AR@100"
IOUS = torch.arange(0.5, 1.0, 0.05)  # COCO's thresholds
_FOUND = 0.5  # least IoU of a proposal whose area is compared with the object's


def evaluate_proposals(predictor: PromptPredictor, dataset_name: str, area_profile: str = "coco") -> dict[str, float]:
    """Measure the proposals of a detector before any RoI head has seen them.

    Of each object the proposal of the highest IoU counts, whatever its class; one proposal may count for several.

    Args:
        predictor: the detector.
        dataset_name: registered dataset; crowds are left out.
        area_profile: limits of "s", "m" and "l" by the area of an object's box, see AREA_PROFILES.

    Returns:
        In percent, NaN where there is no such object: "AR", the recall as a mean over the IoU thresholds 0.50, 0.55 ...
        0.95, of all proposals that the RoI heads get; "ARs", "ARm" and "ARl", of objects by size; "AR@100", of the 100
        best proposals of an image; and "area error", "area error s" ..., the mean of |area / object's area - 1| of
        the proposals of an IoU of at least 0.5.
    """
    best: list[Tensor] = []
    for entry in progress(DatasetCatalog.get(dataset_name), f"Proposals on {dataset_name}", "image"):
        objects = torch.from_numpy(ground_truth_boxes([a for a in entry["annotations"] if not a.get("iscrowd", 0)]))
        if len(objects):
            predictor.set_image(read_entry_image(entry, "RGB"), order="RGB")
            best.append(best_proposals(objects, predictor.propose()))
    rows = torch.cat(best) if best else torch.zeros(0, 4)
    return summarize_proposals(rows, list(AREA_PROFILES[area_profile].values()))


def best_proposals(objects: Tensor, proposals: Tensor) -> Tensor:
    """Find the best proposal of each object.

    Args:
        objects: (N, 4) XYXY, ground-truth boxes, pixels.
        proposals: (P, 4) XYXY, the same pixels, best first.

    Returns:
        (N, 4): the object's area in square pixels, the highest IoU of all proposals, that of the first FEW, and the
        best proposal's area as a multiple of the object's; the last three 0 without proposals.
    """
    truth = Boxes(objects)
    rows = torch.zeros(len(objects), 4)
    rows[:, 0] = truth.area()
    if len(objects) and len(proposals):
        overlaps = pairwise_iou(truth, Boxes(proposals))
        rows[:, 1], which = overlaps.max(dim=1)
        rows[:, 2] = overlaps[:, :FEW].amax(dim=1)
        rows[:, 3] = Boxes(proposals).area()[which] / rows[:, 0]
    return rows


def summarize_proposals(rows: Tensor, sizes: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Compute the metrics of `evaluate_proposals`.

    Args:
        rows: (N, 4), the output of `best_proposals` for all images.
        sizes: lowest and highest area of "s", "m" and "l", square pixels.

    Returns:
        The metrics by name.
    """
    groups = {"": rows} | {
        name: rows[(rows[:, 0] >= low) & (rows[:, 0] <= high)] for name, (low, high) in zip("sml", sizes)
    }
    metrics = {"AR@100": _recall(rows[:, 2])} | {f"AR{name}": _recall(group[:, 1]) for name, group in groups.items()}
    for name, group in groups.items():
        found = group[group[:, 1] >= _FOUND]
        metrics[f"area error {name}".rstrip()] = (found[:, 3] - 1).abs().mean().item() * 100
    return metrics


def _recall(ious: Tensor) -> float:
    return (ious[:, None] >= IOUS).float().mean().item() * 100
