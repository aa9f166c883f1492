"""What the demonstration counts, against cases by hand."""

import numpy as np
import torch

from insight.engine.demonstration import _mean_iou, _right
from insight.inference.prediction import Prediction
from insight.structures.rle import RLEMasks, masks_to_rle


def bars(*columns):
    """Masks of 10 x 10 pixels, each a stripe from one column to another."""
    masks = np.zeros((len(columns), 10, 10), bool)
    for mask, (first, last) in zip(masks, columns):
        mask[:, first:last] = True
    return masks_to_rle(masks)


def prediction(masks, scores, class_ids):
    masks = RLEMasks(masks, (10, 10))
    scores, class_ids = torch.tensor(scores), torch.tensor(class_ids)
    return Prediction(
        (10, 10), boxes=masks.boxes(), scores=scores, masks=masks, class_ids=class_ids, categories=["a", "b"]
    )


def test_each_object_is_found_once_by_a_detection_of_its_class():
    truth, classes = bars((0, 4), (5, 9)), ["a", "b"]
    twice = prediction(bars((0, 4), (0, 3), (5, 9)), [0.9, 0.8, 0.7], [0, 0, 0])
    assert _right(twice, truth, classes) == 1  # the second is a duplicate, the third of another class
    assert _right(prediction(bars((0, 3), (5, 9)), [0.9, 0.7], [0, 1]), truth, classes) == 2
    assert _right(prediction(bars((3, 7)), [0.9], [0]), truth, classes) == 0


def test_mean_iou_of_pairs():
    assert abs(_mean_iou(bars((0, 4), (0, 2)), bars((0, 2), (2, 4))) - 25) < 1e-6
