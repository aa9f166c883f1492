"""Mean IoU of masks from ground-truth boxes, against IoU counted by hand."""

import math

import cv2
import numpy as np
import pytest

pytest.importorskip("detectron2")

from detectron2.data import DatasetCatalog, MetadataCatalog
from pycocotools import mask as coco_mask

from insight.evaluation import PromptedIoU, evaluate_prompted


def boxes_as_masks(boxes, size=(20, 30)):
    masks = np.zeros((len(boxes), *size), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes):
        mask[y0:y1, x0:x1] = True
    return masks


def test_means_over_instances_and_over_classes():
    metric = PromptedIoU(["a", "b", "never"])
    truth = boxes_as_masks([(0, 0, 10, 10), (0, 0, 10, 10), (10, 10, 20, 20)])
    predicted = boxes_as_masks([(0, 0, 10, 10), (0, 0, 10, 5), (10, 10, 15, 15)])  # IoU 1, 1/2, 1/4
    metric.update(predicted[:2], truth[:2], [0, 0])
    codes = [coco_mask.encode(np.asfortranarray(m, dtype=np.uint8)) for m in predicted[2:]]
    metric.update(codes, truth[2:], [1])
    # d = 1 px. Boundaries of 36 px each; of 36 and 26 px, which share three sides, 10 + 4 + 4; of 36 and 16, two: 9.
    boundary = [1, 18 / (36 + 26 - 18), 9 / (36 + 16 - 9)]
    assert metric.result() == pytest.approx({
        "mIoU": 100 * (1 + 0.5 + 0.25) / 3, "class mIoU": 100 * (0.75 + 0.25) / 2, "IoU-a": 75, "IoU-b": 25,
        "boundary mIoU": 100 * sum(boundary) / 3,
        "class boundary mIoU": 100 * (sum(boundary[:2]) / 2 + boundary[2]) / 2,
        "boundary IoU-a": 100 * sum(boundary[:2]) / 2, "boundary IoU-b": 100 * boundary[2],
        "instances": 3, "instances-a": 2, "instances-b": 1, "all boundary instances": 0,
    })  # fmt: skip
    assert [(i["index"], i["class"], i["iou"]) for i in metric.instances] == [(0, 0, 1), (1, 0, 0.5), (0, 1, 0.25)]


def test_the_report_states_ratio_and_canvas():
    metric = PromptedIoU(["a", "b"], boundary_ratio=0.02)
    assert metric.boundary_settings() == "no instances"
    for size in ((300, 400), (20, 30), (100, 200), (300, 400)):
        masks = boxes_as_masks([(0, 0, 10, 10)], size)
        metric.update(masks, masks, [1])
        if len(metric.sizes) == 1:
            assert metric.boundary_settings() == (
                "ratio 0.02, canvas 400 x 300: 10 px, more than half the short side of 1 of 1 instances"
            )
    settings, *table = metric.report().splitlines()
    # 2 d is 20, 2 and 8 px; the objects have 10.
    narrow = "more than half the short side of 2 of 4 instances"
    assert settings == f"boundary IoU: ratio 0.02, canvas 30 x 20 to 400 x 300: 1 to 10 px, {narrow}"
    assert [line.split() for line in table[2:]] == [
        ["all", "instances", "4", "100.00", "100.00"],
        ["mean", "of", "classes", "100.00", "100.00"],
        ["b", "4", "100.00", "100.00"],
    ]


def test_nothing_and_wrong_lengths():
    metric = PromptedIoU(["a"])
    metric.update(boxes_as_masks([]), boxes_as_masks([]), [])
    result = metric.result()
    assert result.pop("instances") == result.pop("all boundary instances") == 0
    assert len(result) == 4 and all(map(math.isnan, result.values()))
    assert "nan" in metric.report()
    with pytest.raises(ValueError, match="got 1, 2 and 2"):
        metric.update(boxes_as_masks([(0, 0, 1, 1)]), boxes_as_masks([(0, 0, 1, 1)] * 2), [0, 0])


def test_a_data_set_prompted_box_by_box(tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.full((20, 30, 3), (1, 2, 3), np.uint8))
    annotations = [
        {"bbox": [2, 3, 10, 8], "bbox_mode": 1, "category_id": 0, "segmentation": [[2, 3, 12, 3, 12, 11, 2, 11]]},
        {"bbox": [0, 0, 5, 5], "bbox_mode": 1, "category_id": 0, "segmentation": [[0, 0, 5, 0, 5, 5]], "iscrowd": 1},
        {"bbox": [20, 5, 6, 6], "bbox_mode": 1, "category_id": 1, "segmentation": [[20, 5, 26, 5, 26, 8, 20, 8]]},
    ]
    entry = {"file_name": str(path), "image_id": 1, "height": 20, "width": 30}
    DatasetCatalog.register(
        "test_prompted", lambda: [{**entry, "annotations": annotations}, {**entry, "annotations": []}]
    )
    MetadataCatalog.get("test_prompted").thing_classes = ["a", "b"]
    seen = []

    def predict(image, boxes):
        seen.append((image[0, 0].tolist(), boxes.tolist()))
        return boxes_as_masks(boxes.astype(int))

    try:
        result = evaluate_prompted(predict, "test_prompted", "RGB")
    finally:
        DatasetCatalog.remove("test_prompted")
        MetadataCatalog.remove("test_prompted")
    assert seen == [([3, 2, 1], [[2, 3, 12, 11], [20, 5, 26, 11]])]
    found = {key: result[key] for key in ("mIoU", "class mIoU", "IoU-a", "IoU-b", "instances")}
    assert found == pytest.approx({"mIoU": 75, "class mIoU": 75, "IoU-a": 100, "IoU-b": 50, "instances": 2})
    assert result["boundary IoU-a"] == pytest.approx(100)


def test_a_data_set_without_masks_is_refused():
    entry = {"annotations": [{"bbox": [2, 3, 10, 8], "bbox_mode": 1, "category_id": 0}]}
    DatasetCatalog.register("test_boxes", lambda: [entry])
    try:
        with pytest.raises(ValueError, match="^test_boxes: no annotation has a mask"):
            evaluate_prompted(lambda image, boxes: None, "test_boxes")
    finally:
        DatasetCatalog.remove("test_boxes")
