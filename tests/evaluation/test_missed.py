"""Missed instances and what prompts add: cases worked out by hand."""

import numpy as np
import pytest

pytest.importorskip("detectron2")

import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, BoxMode, Instances
from PIL import Image

from insight.evaluation.missed import evaluate_missed, is_missed
from insight.inference.prediction import Prediction

NAME = "test_missed"
SIZE = (40, 60)
SQUARE, SHIFTED_HALF, FAR = [10, 10, 20, 20], [10, 10, 20, 15], [40, 20, 50, 30]


def detections(boxes, classes, scores, masks=True):
    found = Instances(SIZE, pred_boxes=Boxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)))
    found.pred_classes, found.scores = torch.tensor(classes, dtype=torch.int64), torch.tensor(scores)
    if masks:
        bitmaps = np.zeros((len(boxes), *SIZE), bool)
        for bitmap, (x1, y1, x2, y2) in zip(bitmaps, boxes):
            bitmap[y1:y2, x1:x2] = True
        found.pred_masks = torch.from_numpy(bitmaps)
    return found


@pytest.mark.parametrize(
    "box, label, score, missed",
    [
        (SQUARE, 1, 0.9, False),
        (SQUARE, 1, 0.3, False),  # at the threshold
        (SQUARE, 1, 0.29, True),
        (SQUARE, 0, 0.9, True),  # another class
        (SHIFTED_HALF, 1, 0.9, False),  # an IoU of exactly a half
        ([10, 10, 20, 14], 1, 0.9, True),
        (FAR, 1, 0.9, True),
    ],
)
def test_what_finds_an_instance(box, label, score, missed):
    given = torch.tensor([SQUARE], dtype=torch.float32), torch.tensor([1])
    found = detections([FAR, box], [1, label], [1.0, score])
    assert is_missed(*given, found, score_threshold=0.3).tolist() == [missed]


def test_nothing_found_and_nothing_there():
    boxes, classes = torch.tensor([SQUARE, FAR], dtype=torch.float32), torch.tensor([0, 1])
    assert is_missed(boxes, classes, detections([], [], [])).tolist() == [True, True]
    assert is_missed(boxes[:0], classes[:0], detections([FAR], [0], [1.0])).tolist() == []


class Knows:
    """Finds the given instances, and answers boxes with all of their pixels, the class 0 and a score of 0.5."""

    def __init__(self, found):
        self.found, self.asked = list(found), []

    def set_image(self, image, order):
        assert image.shape == (*SIZE, 3) and order == "RGB"

    def detect(self):
        return Prediction.from_instances(self.found.pop(0))

    def predict(self, *, boxes):
        self.asked.append(boxes.tolist())
        return Prediction.from_instances(detections(boxes.int().tolist(), [0] * len(boxes), [0.5] * len(boxes)))


@pytest.fixture
def dataset(tmp_path):
    """Two images: two squares of a class; one square of it and a crowd."""
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(tmp_path / "black.png")

    def entry(image_id, boxes, crowds):
        annotations = []
        for (x1, y1, x2, y2), crowd in zip(boxes, crowds):
            outline = [[x1, y1, x2, y1, x2, y2, x1, y2]]
            annotations.append(
                {"bbox": [x1, y1, x2 - x1, y2 - y1], "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0, "iscrowd": crowd}
                | {"segmentation": outline}
            )
        place = {"file_name": str(tmp_path / "black.png"), "height": SIZE[0], "width": SIZE[1], "image_id": image_id}
        return {**place, "annotations": annotations}

    entries = [entry(1, [SQUARE, FAR], [0, 0]), entry(2, [SQUARE, FAR], [0, 1])]
    DatasetCatalog.register(NAME, lambda: entries)
    MetadataCatalog.get(NAME).set(thing_classes=["square"])
    yield NAME
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


def test_average_precision_before_and_after(dataset):
    # 2 of 3 squares are found, then all of them: a recall of 2/3 covers 67 of COCO's 101 steps.
    predictor = Knows([detections([SQUARE], [0], [0.9]), detections([SQUARE], [0], [0.8])])
    results = evaluate_missed(predictor, dataset)
    assert predictor.asked == [[FAR]]  # the crowd is not asked for
    assert (results["instances"], results["missed"]) == (3, 1)
    assert results["automatic AP"] == pytest.approx(100 * 67 / 101) and results["prompted AP"] == pytest.approx(100)
    assert results["automatic AP50"] == pytest.approx(100 * 67 / 101) and "automatic AP-square" not in results


def test_a_threshold_makes_more_of_them_missed(dataset):
    found = [detections([SQUARE], [0], [0.9]), detections([SQUARE], [0], [0.8])]
    predictor = Knows(found)
    results = evaluate_missed(predictor, dataset, score_threshold=0.85)
    assert predictor.asked == [[FAR], [SQUARE]] and results["missed"] == 2
    # The square of 0.8 stays among the results; its second answer, of 0.5, ranks last and is a duplicate.
    assert results["prompted AP"] == pytest.approx(100)


def test_nothing_missed_changes_nothing(dataset):
    predictor = Knows([detections([SQUARE, FAR], [0, 0], [0.9, 0.7]), detections([SQUARE], [0], [0.8])])
    results = evaluate_missed(predictor, dataset)
    assert predictor.asked == [] and results["missed"] == 0
    assert results["automatic AP"] == results["prompted AP"] == pytest.approx(100)


def test_a_model_without_masks_is_judged_by_boxes(dataset):
    found = [detections([SQUARE, FAR], [0, 0], [0.9, 0.7], masks=False), detections([], [], [], masks=False)]
    predictor = Knows(found)
    predictor.predict = lambda *, boxes: Prediction.from_instances(
        detections(boxes.int().tolist(), [0], [0.5], masks=False)
    )
    results = evaluate_missed(predictor, dataset)
    assert results["automatic AP"] == pytest.approx(100 * 67 / 101) and results["prompted AP"] == pytest.approx(100)


def test_a_data_set_without_masks_is_judged_by_boxes(dataset, caplog):
    for entry in DatasetCatalog.get(dataset):
        for annotation in entry["annotations"]:
            del annotation["segmentation"]
    predictor = Knows([detections([SQUARE], [0], [0.9]), detections([SQUARE], [0], [0.8])])
    results = evaluate_missed(predictor, dataset)
    assert results["automatic AP"] == pytest.approx(100 * 67 / 101) and results["prompted AP"] == pytest.approx(100)
    assert caplog.messages.count(f"{NAME}: no annotation has a mask: only boxes are evaluated") == 1
