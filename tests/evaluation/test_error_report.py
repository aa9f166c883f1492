"""What is drawn of an error breakdown."""

import math

import cv2
import pytest

pytest.importorskip("detectron2")

from helpers.boxes_coco import detections, truth
from matplotlib.axes import Axes

from insight.evaluation.error_breakdown import error_breakdown
from insight.evaluation.error_report import draw_breakdown


def test_dollars_in_names_are_no_formula(tmp_path):
    given = truth(("car", [0, 0, 10, 10]))
    given["categories"] = [{**c, "name": f"$_{c['name']}$"} for c in given["categories"]]
    breakdown = error_breakdown(given, detections(("boat", [0, 0, 10, 10], 0.9)), "bbox")
    draw_breakdown(breakdown, "of $_$", tmp_path / "errors.png")
    assert cv2.imread(str(tmp_path / "errors.png")).std() > 5


def test_a_gain_that_nobody_knows_is_no_zero(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(Axes, "bar_label", lambda axes, bars, labels, **_: shown.extend(labels))
    wrong = error_breakdown(truth(("car", [0, 0, 10, 10])), detections(("car", [50, 50, 9, 9], 0.9)), "bbox")
    draw_breakdown(wrong, "errors", tmp_path / "errors.png")
    gains = [wrong.gain(cause) for cause in wrong.fixed]
    assert any(map(math.isnan, gains)) and shown == ["-" if math.isnan(g) else f"{g:.1f}" for g in gains]
