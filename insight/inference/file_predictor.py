"""Predictors for files: the predictor of a config with the options of a run."""

from typing import Any

import numpy as np
from detectron2.config import CfgNode

from insight.config import is_sopseg
from insight.errors import InputError

from .box_correction import check_correct_boxes
from .build import build_predictor
from .classes import class_indices
from .files import FilePredictor
from .prediction import Prediction
from .prompt_files import BoxPrompts


def build_file_predictor(
    cfg: CfgNode, prompted: bool, given_class: str | None = None, correct_boxes: float = 0.0
) -> FilePredictor:
    """Build the file predictor for a config and load its checkpoint.

    Args:
        cfg: the config; MODEL.WEIGHTS is the checkpoint.
        prompted: whether there will be prompts.
        given_class: name of the class of all prompts, if known; None lets the model classify.
        correct_boxes: as in `PromptPredictor.predict`.

    Returns:
        The predictor.

    Raises:
        OSError: the weights cannot be read.
        InsightError: the weights do not fit, SOPSeg without prompts, a class that is unknown or given without prompts,
            or boxes to correct and a model that cannot.
    """
    check_correct_boxes(correct_boxes, cfg)
    sopseg = is_sopseg(cfg)
    if given_class is not None and not prompted:
        raise InputError("given_class: names the class of box prompts, but there are no prompts")
    if given_class is not None and sopseg:
        raise InputError("given_class: SOPSeg has no classes; it segments whatever a prompt contains")
    if sopseg and not prompted:
        raise InputError("boxes: SOPSeg does not detect objects; give boxes or oriented boxes")
    predictor: Any = build_predictor(cfg)  # only a detector takes the options and detects
    if given_class is not None:
        class_indices(given_class, 1, predictor.class_names, "given_class")  # before the first image
    options: dict[str, Any] = {} if sopseg else {"classes": given_class, "correct_boxes": correct_boxes}

    def answer(image: np.ndarray, prompts: BoxPrompts | None) -> Prediction:
        predictor.set_image(image)
        if prompts is None:
            return predictor.detect()
        return predictor.predict(boxes=prompts.boxes, oriented_boxes=prompts.corners, **options)

    return FilePredictor(predictor.class_names, answer)
