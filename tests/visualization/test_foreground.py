"""The report on foreground ratios against shares counted by hand."""

import json

import cv2
import numpy as np

from insight.visualization.foreground import report_foreground


def test_the_report(tmp_path):
    ratios = np.array([0.28, 0.1, 0.06, 0, 1])
    table = report_foreground({"one": ratios, "two": ratios[:2]}, tmp_path / "out")
    assert "| one | 5 | 40.0 % | 20.0 % | 40.0 % | 28.80 % |" in table
    assert (tmp_path / "out" / "foreground.md").read_text() == table
    stored = json.loads((tmp_path / "out" / "foreground.json").read_text())
    assert stored["two"]["ratios"] == [0.28, 0.1] and stored["two"]["shares"] == [0, 0.5, 0.5]
    picture = cv2.imread(str(tmp_path / "out" / "foreground.png"))
    assert picture.shape[1] > picture.shape[0] > 300 and picture.std() > 10
