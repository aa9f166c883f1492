"""Ground truth of dataset dicts, by hand."""

import numpy as np
import pytest

pytest.importorskip("detectron2")

from detectron2.structures import BoxMode

from insight.data.entries import ground_truth_boxes, objects_with_masks


def test_objects_with_masks_leave_out_crowds_and_boxes():
    kept = [{"segmentation": [[0, 0, 4, 0, 4, 4]]}, {"segmentation": {"size": [4, 4], "counts": "`"}, "iscrowd": 0}]
    others = [{"segmentation": [[0, 0, 4, 0, 4, 4]], "iscrowd": 1}, {"segmentation": []}, {}]
    assert objects_with_masks({"annotations": [others[0], kept[0], *others[1:], kept[1]]}) == kept


def test_boxes_of_both_modes():
    annotations = [
        {"bbox": [1, 2, 3, 4], "bbox_mode": BoxMode.XYXY_ABS},
        {"bbox": [1.5, 2, 3, 4], "bbox_mode": BoxMode.XYWH_ABS},
    ]
    boxes = ground_truth_boxes(annotations)
    assert boxes.dtype == np.float32 and boxes.tolist() == [[1, 2, 3, 4], [1.5, 2, 4.5, 6]]
    assert ground_truth_boxes([]).shape == (0, 4)
