"""What prompts contribute to a trained detector: average precision with the prompts changed."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
from detectron2.data import DatasetCatalog

from insight.data.entries import ground_truth_boxes, read_entry_image
from insight.errors import InputError
from insight.modeling.prompt.changes import ChangedPrompts, possible_changes
from insight.runtime.progress import progress

from .coco import CocoEvaluator, possible_tasks

if TYPE_CHECKING:
    from insight.inference.predictor import PromptPredictor

AS_TRAINED = "as trained"
_TASKS = {"segm": "mask AP", "bbox": "box AP"}


def evaluate_prompt_use(
    predictor: PromptPredictor, dataset_name: str, max_dets: tuple[int, ...] = (1, 10, 100), area_profile: str = "coco"
) -> dict[str, float]:
    """Compute the AP of a detector as it was trained, and with each possible change of its prompts.

    A prompt that can be removed without a change in AP contributes nothing. Each image is encoded once for all changes.

    Args:
        predictor: the model, with prompts.
        dataset_name: registered dataset.
        max_dets, area_profile: as in `CocoEvaluator`.

    Returns:
        "mask AP, CHANGE" and "box AP, CHANGE" in percent, where CHANGE is AS_TRAINED or one of `possible_changes`; only
        the latter if the model or, with a warning, the dataset has no masks.

    Raises:
        InputError: the model has no prompts.
    """
    changes = possible_changes(predictor.model)
    if not changes:
        raise InputError("MODEL.PROMPT: expected LPM or GPM to be enabled, got a model without prompts")
    managers = {AS_TRAINED: nullcontext()} | {str(c): ChangedPrompts(predictor.model, c) for c in changes}
    evaluators: dict[str, CocoEvaluator] = {}
    dicts = DatasetCatalog.get(dataset_name)
    for entry in progress(dicts, f"Changing prompts on {dataset_name}", "image"):
        predictor.set_image(read_entry_image(entry, "RGB"), order="RGB")
        size = torch.tensor([entry["width"], entry["height"]] * 2)
        objects = [a for a in entry["annotations"] if not a.get("iscrowd")]
        truth = torch.from_numpy(ground_truth_boxes(objects)) / size, torch.tensor([a["category_id"] for a in objects])
        for name, manager in managers.items():
            if isinstance(manager, ChangedPrompts):
                manager.see(*truth)
            with manager:
                found = predictor.detect().to_instances()
            if not evaluators:
                tasks = ("bbox", "segm") if found.has("pred_masks") else ("bbox",)
                tasks = possible_tasks(tasks, dicts, dataset_name)
                evaluators = {
                    change: CocoEvaluator(dataset_name, max_dets=max_dets, area_profile=area_profile, tasks=tasks)
                    for change in managers
                }
            evaluators[name].process([entry], [{"instances": found}])
    results = {name: evaluator.evaluate() for name, evaluator in evaluators.items()}
    return {
        f"{title}, {name}": found[task]["AP"]
        for task, title in _TASKS.items()
        for name, found in results.items()
        if task in found
    }
