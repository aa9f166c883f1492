"""Box prompts drawn in haste: a model corrects those that it would have elsewhere."""

from numbers import Real

import torch
from detectron2.config import CfgNode
from detectron2.structures import Boxes
from torch import Tensor
from torchvision.ops import box_iou

from insight.config import is_sopseg


def check_correct_boxes(value: float, cfg: CfgNode | None = None, name: str = "correct_boxes") -> None:
    """Check the IoU below which a box is corrected.

    Args:
        value: 0 to correct none, 1 to correct all, or between.
        cfg: config of the model that is to correct, if it is at hand.
        name: of the argument, for the error.

    Raises:
        ValueError: it is not a number from 0 to 1, or the model cannot correct boxes.
    """
    # True would be taken for 1, which costs exact boxes most.
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value <= 1:
        raise ValueError(f"{name}: expected an IoU, from 0 (no box is corrected) to 1 (all are), got {value!r}")
    if value and cfg is not None and is_sopseg(cfg):
        raise ValueError(f"{name}: SOPSeg takes boxes at their word, only a detector corrects them")


def corrected_where_far(boxes: Tensor, corrected: Tensor, below: float, image_size: tuple[int, int]) -> Tensor:
    """Boxes, or what a model makes of them where that is elsewhere.

    Args:
        boxes: (N, 4) XYXY, as a person gave them; what lies outside the image does not count.
        corrected: (N, 4) XYXY in the same frame.
        below: the IoU of the two from which on the given box stays.
        image_size: (height, width) of the image.

    Returns:
        (N, 4).
    """
    inside, corrected = Boxes(boxes.clone()), Boxes(corrected.clone())
    inside.clip(image_size)
    corrected.clip(image_size)
    is_far = box_iou(inside.tensor, corrected.tensor).diagonal() < below
    return torch.where(is_far[:, None], corrected.tensor, boxes)
