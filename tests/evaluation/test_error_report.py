"""What is drawn of an error breakdown."""

import cv2
import pytest

pytest.importorskip("detectron2")

from boxes_coco import detections, truth

from insight.evaluation.error_breakdown import error_breakdown
from insight.evaluation.error_report import draw_breakdown


def test_dollars_in_names_are_no_formula(tmp_path):
    given = truth(("car", [0, 0, 10, 10]))
    given["categories"] = [{**c, "name": f"$_{c['name']}$"} for c in given["categories"]]
    breakdown = error_breakdown(given, detections(("boat", [0, 0, 10, 10], 0.9)), "bbox")
    draw_breakdown(breakdown, "of $_$", tmp_path / "errors.png")
    assert cv2.imread(str(tmp_path / "errors.png")).std() > 5
