"""Robustness to inexact box prompts: mask IoU against the noise of the boxes."""

from collections.abc import Sequence

import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from torch import Tensor

from insight.config import gives_masks, is_sopseg
from insight.data.entries import ground_truth_boxes, objects_with_masks, read_entry_image
from insight.data.mappers.image_seed import image_seed
from insight.errors import InputError
from insight.evaluation import PromptedIoU
from insight.evaluation.coco import require_masks
from insight.inference.box_correction import check_correct_boxes
from insight.inference.predictor import PromptPredictor
from insight.modeling.checkpointer import Checkpointer
from insight.runtime.progress import progress
from insight.structures.boxes import jitter_boxes
from insight.structures.rle import segmentation_to_rle

from .entry import is_sam, trainer_class
from .results import Metrics, by_dataset

NOISES = (0.0, 0.05, 0.1, 0.2, 0.3)


def jitter_curve(cfg: CfgNode, noises: Sequence[float] = NOISES, correct_boxes: float = 0.0) -> Metrics:
    """Measure the mask IoU of a model prompted with ground-truth boxes whose sides are shifted at random.

    A noise of 0.1 shifts each side by up to a tenth of the box's extent, uniformly in both directions. The shifts
    depend only on the image, so that all models get the same boxes. SOPSeg gets the prompts of MODEL.SOPSEG.PROMPT.

    Args:
        cfg: the config; MODEL.WEIGHTS is the checkpoint.
        noises: largest shifts, as fractions of the box's extent, 0 to below 0.5.
        correct_boxes: as in `PromptPredictor.predict`.

    Returns:
        {dataset: {"jitter": {"mIoU at 0.1": ..., "class mIoU at 0.1": ..., ...}}}, in percent; and "all boundary
        instances", as `PromptedIoU.result` counts them.

    Raises:
        CheckpointError: there is no checkpoint, or it does not fit.
        InputError: a noise out of range, at which a box could turn over; a model or dataset without masks;
            `correct_boxes` out of range, or given for SOPSeg.
    """
    check_correct_boxes(correct_boxes, cfg)
    if not all(0 <= noise < 0.5 for noise in noises):
        raise InputError(f"noises: expected numbers from 0 to below 0.5, got {', '.join(map(str, noises))}")
    of_sopseg = is_sopseg(cfg)
    if not (of_sopseg or gives_masks(cfg)):
        raise InputError("MODEL.MASK_ON: expected True, as masks are compared, got False")
    for dataset in cfg.DATASETS.TEST:
        require_masks(dataset)
    curves = _of_sopseg(cfg, noises) if of_sopseg else _of_detector(cfg, noises, correct_boxes)
    return {dataset: {"jitter": dict(_named(noises, results))} for dataset, results in curves.items()}


def _named(noises: Sequence[float], results: list[dict[str, float]]):
    for noise, metrics in zip(noises, results):
        for name in ("mIoU", "class mIoU", "boundary mIoU"):
            yield f"{name} at {noise:g}", metrics[name]
    if results:  # the same objects at every level
        yield "all boundary instances", results[0]["all boundary instances"]


def _of_sopseg(cfg: CfgNode, noises: Sequence[float]) -> dict[str, list[dict[str, float]]]:
    trainer = trainer_class(cfg)
    model = trainer.build_model(cfg)
    if cfg.MODEL.WEIGHTS or not is_sam(cfg):
        Checkpointer(model, exact=True).load(cfg.MODEL.WEIGHTS, checkpointables=[])
    curves: dict[str, list[dict[str, float]]] = {}
    for noise in noises:
        noisy = cfg.clone()
        noisy.defrost()
        noisy.TEST.PROMPT_JITTER = noise
        for dataset, results in by_dataset(noisy, trainer.test(noisy, model)).items():
            curves.setdefault(dataset, []).append(results["prompted"])
    return curves


def _of_detector(cfg: CfgNode, noises: Sequence[float], correct_boxes: float) -> dict[str, list[dict[str, float]]]:
    predictor = PromptPredictor(cfg)
    return {dataset: _on_dataset(predictor, dataset, noises, correct_boxes) for dataset in cfg.DATASETS.TEST}


def _on_dataset(
    predictor: PromptPredictor, dataset: str, noises: Sequence[float], correct_boxes: float = 0.0
) -> list[dict[str, float]]:
    dicts = DatasetCatalog.get(dataset)
    metrics = [PromptedIoU(MetadataCatalog.get(dataset).thing_classes) for _ in noises]
    for entry in progress(dicts, f"Prompting with noise on {dataset}", "image"):
        annotations = objects_with_masks(entry)
        if not annotations:
            continue
        size = entry["height"], entry["width"]
        boxes = torch.from_numpy(ground_truth_boxes(annotations))
        truth = [segmentation_to_rle(a["segmentation"], size) for a in annotations]
        classes = [a["category_id"] for a in annotations]
        predictor.set_image(read_entry_image(entry, "RGB"), order="RGB")  # once for all noises
        for noise, metric in zip(noises, metrics):
            prompts = noisy_boxes(boxes, noise, image_seed(entry["image_id"]), size)
            masks = predictor.predict(boxes=prompts, correct_boxes=correct_boxes).masks
            metric.update(masks, truth, classes, entry["image_id"])
    return [metric.result() for metric in metrics]


def noisy_boxes(boxes: Tensor, noise: float, seed: int, size: tuple[int, int]) -> Tensor:
    """Shift the sides of boxes at random, and clip them to the image.

    Args:
        boxes: (N, 4) float32 XYXY, image pixels.
        noise: largest shift of a side, as a fraction of the box's extent.
        seed: seed of the draws; for one seed the shifts of all noises are in proportion.
        size: (height, width) of the image, pixels.

    Returns:
        (N, 4) float32 XYXY, image pixels. A box that would leave the image is not shifted.
    """
    limits = boxes.new_tensor([size[1], size[0], size[1], size[0]])
    shifted = jitter_boxes(boxes, noise, torch.Generator().manual_seed(seed))
    shifted = torch.minimum(shifted.clamp(min=0), limits)
    is_left = (shifted[:, 2:] > shifted[:, :2]).all(dim=1, keepdim=True)
    return torch.where(is_left, shifted, boxes)
