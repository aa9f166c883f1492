"""Masks from the boxes of any detector."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from insight.errors import InputError
from insight.hub.finding import DEFAULT_SOPSEG, is_weight_file
from insight.modeling.sopseg import SOPSeg
from insight.structures.prompt_inputs import box_values, is_oriented, oriented_box_values, to_numbers

from .prediction import Prediction
from .sopseg_predictor import SOPSegPredictor


def masks(
    image: Any,
    results: Any,
    model: "SOPSegPredictor | SOPSeg | str | os.PathLike" = DEFAULT_SOPSEG,
    *,
    order: str = "RGB",
    class_names: Sequence[str] | None = None,
) -> Prediction:
    """Segment the objects that a detector has found, from its boxes or oriented boxes.

    Args:
        image: the image that the detector saw, in any form that `SOPSegPredictor.set_image` accepts.
        results: the detections of this image: supervision's `Detections`, ultralytics' `Results`, torchvision's
            dictionary of boxes and labels, Detectron2's `Instances`, a data sample of mmdetection or mmrotate, or boxes
            in any form: (N, 4) XYXY, or oriented, (N, 5) with degrees, (N, 8) or (N, 4, 2). A list with one of
            these, as models return for one image, is accepted too. Oriented boxes take precedence.
        model: a `SOPSegPredictor`, or a model, its name or a checkpoint to make one; for many images pass a predictor,
            to load it once.
        order: order of the channels of an array or tensor, "RGB" or "BGR".
        class_names: names of the detector's classes by index, for results that only have indices.

    Returns:
        One instance with a mask for each detection in order, with the detector's classes. Scores are SOPSeg's predicted
        IoU of the masks.

    Raises:
        OSError: the image or the checkpoint cannot be read.
        InputError: unsupported results, or see `SOPSegPredictor.predict`.

    Example:
        >>> results = YOLO("yolo11n-obb.pt")("port.png")
        >>> insight.masks("port.png", results).plot("port.png")
    """
    if isinstance(results, list | tuple) and results and not _is_numeric(results):
        if len(results) > 1:
            raise InputError(f"results: expected those of one image, got a list of {len(results)}")
        results = results[0]
    if isinstance(results, Mapping):
        results = results["instances"] if "instances" in results else _TorchvisionResults.of(results)
    results = getattr(results, "pred_instances", results)  # mmdetection's data sample
    boxes = getattr(results, "bboxes", results)
    predictor = model if isinstance(model, SOPSegPredictor) else _load(model)
    if is_oriented(boxes):
        prompts = {"oriented_boxes": oriented_box_values(boxes)}
    else:
        prompts = {"boxes": box_values(boxes)}
    prediction = predictor.predict(image=image, order=order, **prompts)
    class_ids = _class_ids(results)
    if class_ids is not None:
        prediction.class_ids = to_numbers(class_ids, "results", "class ids", torch.int64).reshape(-1)
        prediction.categories = _categories(results, prediction.class_ids, class_names)
    return prediction


class _TorchvisionResults(NamedTuple):
    boxes: Any
    labels: Any

    @classmethod
    def of(cls, results: Mapping) -> "_TorchvisionResults":
        if "boxes" not in results:
            raise InputError(f"results: expected boxes or instances in the dictionary, got {list(results)}")
        return cls(results["boxes"], results.get("labels"))


def _load(model: "SOPSeg | str | os.PathLike") -> SOPSegPredictor:
    if not isinstance(model, str | os.PathLike) or is_weight_file(model):
        return SOPSegPredictor(model)
    return SOPSegPredictor.from_pretrained(model, "cpu")


def _is_numeric(values: Sequence) -> bool:
    """Whether a list holds boxes rather than results."""
    return isinstance(values[0], Sequence | np.ndarray | torch.Tensor | int | float | np.number)


def _class_ids(results: Any) -> Any:
    """The class indices of detections in any library's results, or None."""
    inner = [getattr(results, name, None) for name in ("obb", "boxes")]
    for found in (*inner, results):
        for attribute in ("class_id", "cls", "pred_classes", "labels"):
            if not isinstance(found, torch.Tensor | np.ndarray) and getattr(found, attribute, None) is not None:
                return getattr(found, attribute)
    return None


def _categories(results: Any, class_ids: torch.Tensor, given: Sequence[str] | None) -> list[str]:
    """Names for the class ids: the given ones, or those of the results."""
    count = int(class_ids.max()) + 1 if len(class_ids) else 0
    if given is not None:
        if len(given) < count:
            raise InputError(
                f"class_names: expected {count} or more, since there is class {count - 1}, got {len(given)}"
            )
        return list(map(str, given))
    names = getattr(results, "names", None)
    data = getattr(results, "data", None)
    if not isinstance(names, Mapping) and isinstance(data, Mapping) and "class_name" in data:
        names = dict(zip(class_ids.tolist(), map(str, data["class_name"])))
    if isinstance(names, Mapping):
        count = max([count, *(int(index) + 1 for index in names)])
        return [str(names.get(index, index)) for index in range(count)]
    return [str(index) for index in range(count)] or ["object"]
