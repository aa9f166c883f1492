"""What predicts on files: the predictor that a config asks for, behind one function."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.structures import Boxes, Instances

from insight.config import is_sopseg

from .box_correction import check_correct_boxes
from .classes import class_indices
from .predictor import PromptPredictor
from .prompt_files import BoxPrompts
from .sopseg_predictor import SOPSegPredictor


class FilePredictor(NamedTuple):
    """A model, as prediction on files uses it.

    Attributes:
        class_names: names of the classes that it tells.
        answer: (image (H, W, 3) uint8 RGB, prompts or None) -> Instances of the image on the CPU with pred_boxes,
            pred_classes, scores and perhaps pred_masks (RLEMasks): one for each prompt in its order, or what is found
            without prompts.
    """

    class_names: list[str]
    answer: Callable[[np.ndarray, BoxPrompts | None], Instances]


def build_file_predictor(
    cfg: CfgNode, prompted: bool, given_class: str | None = None, correct_boxes: float = 0.0
) -> FilePredictor:
    """Load the model of a config.

    Args:
        cfg: the config; MODEL.WEIGHTS is the checkpoint.
        prompted: whether it will be asked with prompts.
        given_class: name of the class that all prompts hold; None lets the model tell.
        correct_boxes: as `PromptPredictor.predict` takes it.

    Returns:
        The model.

    Raises:
        OSError, ValueError: the weights are missing or do not fit, a model that needs prompts gets none, a class is
            given that the model does not know or that no prompts are there for, or boxes are to be corrected by a model
            that cannot.
    """
    check_correct_boxes(correct_boxes, cfg, "--correct-boxes")
    if given_class is not None and not prompted:
        raise ValueError("--class: says what boxes hold: give --boxes, --oriented-boxes or --boxes-json")
    if not is_sopseg(cfg):
        return _detector(cfg, given_class, correct_boxes)
    if given_class is not None:
        raise ValueError("--class: SOPSeg knows no classes, its masks are of whatever a prompt holds")
    return _sopseg(cfg, prompted)


def _detector(cfg: CfgNode, given_class: str | None, correct_boxes: float) -> FilePredictor:
    predictor = PromptPredictor(cfg)
    if given_class is not None:
        class_indices(given_class, 1, predictor.class_names, "--class")  # once, not for each image

    def answer(image: np.ndarray, prompts: BoxPrompts | None) -> Instances:
        predictor.set_image(image)
        if prompts is None:
            return predictor.detect()
        return predictor.predict(prompts.boxes, prompts.corners, classes=given_class, correct_boxes=correct_boxes)

    return FilePredictor(predictor.class_names, answer)


def _sopseg(cfg: CfgNode, prompted: bool) -> FilePredictor:
    if not prompted:
        raise ValueError("SOPSeg finds nothing by itself: give --boxes, --oriented-boxes or --boxes-json")
    if not cfg.MODEL.WEIGHTS:
        raise ValueError("MODEL.WEIGHTS is empty: name a checkpoint of SOPSeg or SAM")
    keys = cfg.MODEL.SOPSEG
    predictor = SOPSegPredictor(
        cfg.MODEL.WEIGHTS,
        encoder=keys.ENCODER,
        decoder=keys.DECODER,
        input_size=keys.INPUT_SIZE,
        magnify=keys.MAGNIFY,
        shared_crops=keys.SHARED_CROPS,
        device=cfg.MODEL.DEVICE,
    )

    def answer(image: np.ndarray, prompts: BoxPrompts) -> Instances:
        found = predictor.predict(image, prompts.boxes, prompts.corners)
        return Instances(
            image.shape[:2],
            pred_boxes=Boxes(found.boxes),
            scores=found.scores,
            pred_classes=torch.zeros(len(found.boxes), dtype=torch.int64),
            pred_masks=found.masks,
        )

    return FilePredictor(["object"], answer)
