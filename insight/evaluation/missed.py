"""AP of a detector that is prompted with the boxes of the instances that it misses.

Source: Insight Any Instance, section IV-F and Table XI.
"""

from typing import Protocol

import numpy as np
import torch
from detectron2.data import DatasetCatalog
from detectron2.structures import Boxes, Instances, pairwise_iou
from torch import Tensor

from insight.data.entries import ground_truth_boxes, read_entry_image
from insight.inference.prediction import Prediction
from insight.runtime.progress import progress

from .coco import CocoEvaluator, possible_tasks

SCORE_THRESHOLD = 0.05  # lowest score of a detection that counts; Detectron2's default
LEAST_IOU = 0.5  # lowest box IoU of a detection with the instance that it finds


class Predictor(Protocol):
    """A detector that can be prompted, such as `insight.PromptPredictor`."""

    def set_image(self, image: np.ndarray, order: str) -> None:
        """Set the image, (H, W, 3) uint8."""

    def detect(self) -> Prediction:
        """Find instances in it without prompts."""

    def predict(self, *, boxes: Tensor) -> Prediction:
        """Segment boxes, one instance each."""


def is_missed(boxes: Tensor, classes: Tensor, found: Instances, score_threshold: float = SCORE_THRESHOLD) -> Tensor:
    """Return which ground-truth instances no detection finds.

    A detection finds an instance if it has the same class, a score of at least `score_threshold`, and a box whose IoU
    with the instance's is at least LEAST_IOU. One detection may find several instances.

    Args:
        boxes: (N, 4) XYXY, ground-truth boxes, pixels of the image.
        classes: (N,) int64, their class indices.
        found: detections, with pred_boxes, pred_classes and scores.
        score_threshold: lowest score of a detection that counts.

    Returns:
        (N,) bool.
    """
    overlaps = pairwise_iou(Boxes(boxes), found.pred_boxes) >= LEAST_IOU
    counts = (classes[:, None] == found.pred_classes) & (found.scores >= score_threshold)
    return ~(overlaps & counts).any(dim=1)


def evaluate_missed(
    predictor: Predictor,
    dataset_name: str,
    score_threshold: float = SCORE_THRESHOLD,
    max_dets: tuple[int, ...] = (1, 10, 100),
    area_profile: str = "coco",
) -> dict[str, float]:
    """Compute the AP of detections, alone and together with the answers to box prompts of missed instances.

    The answers keep the class and score that the model predicts.

    Args:
        predictor: the model.
        dataset_name: registered dataset; crowds are not used as prompts.
        score_threshold: lowest score of a detection that counts.
        max_dets, area_profile: as in `CocoEvaluator`.

    Returns:
        "automatic METRIC" and "prompted METRIC" for AP, AP50, AP75, APs, APm and APl, in percent, of masks (of boxes if
        the model or, with a warning, the dataset has no masks), and the numbers of "instances" and of those "missed".
    """
    evaluators, numbers = {}, {"instances": 0, "missed": 0}
    dicts = DatasetCatalog.get(dataset_name)
    for entry in progress(dicts, "Prompting with missed instances", "image"):
        predictor.set_image(read_entry_image(entry, "RGB"), order="RGB")
        found = predictor.detect().to_instances()
        if not evaluators:
            tasks = ("segm", "bbox") if found.has("pred_masks") else ("bbox",)
            task = possible_tasks(tasks, dicts, dataset_name)[0]
            for name in ("automatic", "prompted"):
                evaluators[name] = CocoEvaluator(
                    dataset_name, max_dets=max_dets, area_profile=area_profile, tasks=(task,)
                )
        annotations = [a for a in entry["annotations"] if not a.get("iscrowd", 0)]
        boxes = torch.from_numpy(ground_truth_boxes(annotations))
        missed = is_missed(boxes, torch.tensor([a["category_id"] for a in annotations]), found, score_threshold)
        with_answers = found
        if missed.any():
            with_answers = Instances.cat([found, predictor.predict(boxes=boxes[missed]).to_instances()])
        for evaluator, instances in zip(evaluators.values(), (found, with_answers)):
            evaluator.process([entry], [{"instances": instances}])
        numbers["instances"] += len(boxes)
        numbers["missed"] += int(missed.sum())
    results = {}
    for name, evaluator in evaluators.items():
        (metrics,) = evaluator.evaluate().values()
        results.update((f"{name} {key}", value) for key, value in metrics.items() if not key.startswith("AP-"))
    return {**results, **{name: float(value) for name, value in numbers.items()}}
