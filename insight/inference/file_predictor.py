"""Predictors for files: the predictor of a config or of a model by name, with the options of a run."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from insight.errors import InputError

from .classes import class_indices
from .files import FilePredictor
from .prediction import Prediction
from .prompt_files import BoxPrompts
from .sopseg_predictor import SOPSegPredictor

if TYPE_CHECKING:
    from .predictor import PromptPredictor


def to_file_predictor(
    predictor: "PromptPredictor | SOPSegPredictor",
    prompted: bool,
    given_class: str | None = None,
    correct_boxes: float = 0.0,
) -> FilePredictor:
    """Make the file predictor of a predictor. A SOPSegPredictor needs no Detectron2.

    Args:
        predictor: the predictor.
        prompted: whether there will be prompts.
        given_class: name of the class of all prompts, if known; None lets the model classify.
        correct_boxes: as in `PromptPredictor.predict`.

    Returns:
        The predictor for files.

    Raises:
        InputError: as `check_options`.
    """
    sopseg = isinstance(predictor, SOPSegPredictor)
    check_options(sopseg, prompted, given_class, correct_boxes, predictor.class_names)
    options: dict[str, Any] = {} if sopseg else {"classes": given_class, "correct_boxes": correct_boxes}

    def answer(image: np.ndarray, prompts: BoxPrompts | None) -> Prediction:
        predictor.set_image(image)
        if prompts is None:
            assert not isinstance(predictor, SOPSegPredictor)  # which only answers prompts
            return predictor.detect()
        return predictor.predict(boxes=prompts.boxes, oriented_boxes=prompts.corners, **options)

    return FilePredictor(list(predictor.class_names), answer)


def check_options(
    sopseg: bool,
    prompted: bool,
    given_class: str | None,
    correct_boxes: float,
    class_names: Sequence[str] | None = None,
) -> None:
    """Check that a model can do what a run asks of it.

    Args:
        sopseg: whether the model is SOPSeg rather than a detector.
        prompted, given_class, correct_boxes: as in `to_file_predictor`.
        class_names: names of the model's classes, if they are known already.

    Raises:
        InputError: SOPSeg without prompts, a class that is unknown or given without prompts or to SOPSeg, or boxes to
            correct and a model that cannot.
    """
    if sopseg and correct_boxes:
        raise InputError("correct_boxes: SOPSeg uses boxes as they are; only a detector corrects them")
    if not sopseg:
        from .box_correction import check_correct_boxes

        check_correct_boxes(correct_boxes)
    if given_class is not None and not prompted:
        raise InputError("given_class: names the class of box prompts, but there are no prompts")
    if given_class is not None and sopseg:
        raise InputError("given_class: SOPSeg has no classes; it segments whatever a prompt contains")
    if sopseg and not prompted:
        raise InputError("boxes: SOPSeg does not detect objects; give boxes or oriented boxes")
    if given_class is not None and class_names is not None:
        class_indices(given_class, 1, class_names, "given_class")
