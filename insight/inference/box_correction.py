"""Box prompts drawn in haste: a model corrects those that it would have elsewhere."""

import torch
from torch import Tensor
from torchvision.ops import box_iou


def check_correct_boxes(value: float, name: str = "correct_boxes") -> float:
    """Check the IoU below which a box is corrected.

    Args:
        value: 0 to correct none, 1 to correct all, or between.
        name: of the argument, for the error.

    Returns:
        The value.

    Raises:
        ValueError: it is not a number from 0 to 1.
    """
    if not 0 <= value <= 1:  # nor NaN
        raise ValueError(f"{name}: expected an IoU, from 0 (no box is corrected) to 1 (all are), got {value}")
    return value


def corrected_where_far(boxes: Tensor, corrected: Tensor, below: float) -> Tensor:
    """Boxes, or what a model makes of them where that is elsewhere.

    Args:
        boxes: (N, 4) XYXY, as a person gave them.
        corrected: (N, 4) XYXY in the same frame.
        below: the IoU of the two from which on the given box stays.

    Returns:
        (N, 4).
    """
    is_far = box_iou(boxes, corrected).diagonal() < below
    return torch.where(is_far[:, None], corrected, boxes)
