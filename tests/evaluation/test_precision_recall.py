"""Precision over recall: by hand, and against pycocotools; what is drawn."""

import contextlib
import copy
import io

import cv2
import numpy as np
import pytest

pytest.importorskip("detectron2")

from helpers.boxes_coco import CATEGORIES, detections, random_case, truth
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from insight.evaluation.precision_recall import ALL, RECALLS, draw_precision_recall, precision_recall

A, B, FAR = [0, 0, 10, 10], [30, 30, 10, 10], [60, 60, 10, 10]


@pytest.mark.parametrize("task", ["bbox", "segm"])
def test_by_hand(task):
    found = detections(("car", A, 0.9), ("car", FAR, 0.8), ("car", B, 0.7), ("tank", B, 0.9))
    curves = precision_recall(truth(("car", A), ("car", B), ("boat", FAR)), found, task)
    assert list(curves) == ["car", "boat", ALL]  # there is no tank in the ground truth
    expected = np.where(RECALLS <= 0.5, 1, 2 / 3)
    for iou in ("IoU 0.50", "IoU 0.75", "IoU 0.50 to 0.95"):
        assert curves["car"][iou] == pytest.approx(expected)
        assert curves["boat"][iou] == pytest.approx(np.zeros(101))
        assert curves[ALL][iou] == pytest.approx(expected / 2)


@pytest.mark.parametrize("max_dets", [100, 2])
def test_equals_pycocotools(max_dets):
    given, found = random_case(2)
    curves = precision_recall(given, found, "bbox", max_dets)
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO()
        reference.dataset = copy.deepcopy(given)
        reference.createIndex()
        loaded = reference.loadRes([{k: d[k] for k in d if k != "segmentation"} for d in copy.deepcopy(found)])
        evaluation = COCOeval(reference, loaded, "bbox")
        evaluation.params.maxDets = [max_dets]
        evaluation.evaluate()
        evaluation.accumulate()
    table = evaluation.eval["precision"][:, :, :, 0, 0]
    for k, name in enumerate(CATEGORIES):
        assert curves[name]["IoU 0.75"] == pytest.approx(table[5, :, k])
        assert curves[name]["IoU 0.50 to 0.95"] == pytest.approx(table[:, :, k].mean(axis=0))
    assert curves[ALL]["IoU 0.50"] == pytest.approx(table[0].mean(axis=1))
    assert len({curve["IoU 0.50"].mean() for curve in curves.values()}) == 4


def test_without_detections_and_without_instances():
    assert precision_recall(truth(("car", A)), [], "segm")["car"]["IoU 0.50"] == pytest.approx(np.zeros(101))
    assert precision_recall(truth(), [], "segm") == {}


def test_what_is_drawn(tmp_path):
    high, low = np.full(101, 0.9), np.full(101, 0.2)
    pictures = []
    for curves in ({"one": high}, {"one": low}, {"one": high, "two": low}):
        draw_precision_recall(curves, "title", tmp_path / "new" / "curves.png")
        pictures.append(cv2.imread(str(tmp_path / "new" / "curves.png")))
    assert all(p.shape[0] > 300 and p.shape[1] > 500 for p in pictures)
    # The first curve's colour lies in the upper, then in the lower half of the plot.
    blue = [np.argwhere((p == (180, 119, 31)).all(axis=2))[:, 0] for p in pictures[:2]]
    width = pictures[0].shape[1]
    rows = [np.bincount(b).argmax() for b in blue]
    assert rows[0] < 100 < 250 < rows[1] and all(np.bincount(b).max() > width / 3 for b in blue)
    assert not np.array_equal(pictures[0], pictures[2])
