"""Correction of loose box prompts by the box head's regression."""

from numbers import Real

import torch
from detectron2.config import CfgNode
from detectron2.structures import Boxes
from torch import Tensor
from torchvision.ops import box_iou

from insight.config import is_sopseg
from insight.errors import InputError


def check_correct_boxes(value: float, cfg: CfgNode | None = None, name: str = "correct_boxes") -> None:
    """Check the IoU below which a box is corrected.

    Args:
        value: from 0, which corrects no box, to 1, which corrects all.
        cfg: config of the model that corrects them, if known.
        name: the argument's name, for error messages.

    Raises:
        InputError: value is not a number from 0 to 1, or the model cannot correct boxes.
    """
    # bool is a Real: True would mean 1, which corrects every box.
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value <= 1:
        raise InputError(f"{name}: expected an IoU from 0 (correct no box) to 1 (correct all), got {value!r}")
    if value and cfg is not None and is_sopseg(cfg):
        raise InputError(f"{name}: SOPSeg uses boxes as they are; only a detector corrects them")


def corrected_where_far(boxes: Tensor, corrected: Tensor, below: float, image_size: tuple[int, int]) -> Tensor:
    """Replace boxes by the model's corrected boxes where the two overlap too little.

    Args:
        boxes: (N, 4) XYXY, as given; parts outside the image do not count.
        corrected: (N, 4) XYXY in the same frame.
        below: the IoU below which a box is replaced.
        image_size: (height, width) of the image.

    Returns:
        (N, 4) XYXY.
    """
    inside, corrected_inside = Boxes(boxes.clone()), Boxes(corrected.clone())
    inside.clip(image_size)
    corrected_inside.clip(image_size)
    is_far = box_iou(inside.tensor, corrected_inside.tensor).diagonal() < below
    return torch.where(is_far[:, None], corrected_inside.tensor, boxes)
