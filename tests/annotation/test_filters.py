"""Each filter drops exactly the masks that it is for."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from insight.annotation.filters import REASONS, Filters
from insight.annotation.measures import measure_mask

BOX = np.array([[10, 10], [30, 10], [30, 20], [10, 20]], np.float32)  # 20 x 10


def measured(*rectangles, score=0.9):
    mask = np.zeros((40, 50), np.uint8, order="F")
    for x1, y1, x2, y2 in rectangles:
        mask[y1:y2, x1:x2] = 1
    return {"score": score, **measure_mask(coco_mask.encode(mask), BOX)}


@pytest.mark.parametrize(
    ("mask", "bounds", "reasons"),
    [
        (measured((10, 10, 30, 20)), {}, []),
        (measured((10, 10, 30, 20), score=0.5), {"min_score": 0.5}, []),
        (measured((10, 10, 30, 20), score=0.4999), {"min_score": 0.5}, ["score"]),
        (measured((10, 10, 30, 20), score=float("nan")), {"min_score": 0.5}, ["score"]),
        (measured((12, 10, 32, 20)), {"min_in_box": 0.9}, []),  # 180 of 200 inside
        (measured((13, 10, 33, 20)), {"min_in_box": 0.9}, ["in_box"]),
        (measured((10, 10, 14, 15)), {"min_area_ratio": 0.1}, []),  # 20 of 200
        (measured((10, 10, 29, 11)), {"min_area_ratio": 0.1}, ["small"]),
        (measured((10, 10, 30, 22)), {"max_area_ratio": 1.2}, []),  # 240 of 200
        (measured((10, 10, 30, 22), (10, 22, 11, 23)), {"max_area_ratio": 1.2}, ["large"]),
        (measured((10, 10, 15, 20), (20, 10, 25, 20)), {"min_largest_part": 0.5}, []),
        (measured((10, 10, 15, 20), (20, 10, 24, 20), (27, 10, 29, 20)), {"min_largest_part": 0.5}, ["scattered"]),
        (measured((35, 30, 36, 31), (40, 30, 41, 31), (45, 30, 46, 31), score=0.1), {},
         ["score", "in_box", "small", "scattered"]),
        (measured(), {}, ["empty"]),
        ({"unusable": "outside"}, {}, ["outside"]),
    ],
)  # fmt: skip
def test_reasons(mask, bounds, reasons):
    assert Filters(**bounds).reasons(mask) == reasons
    assert set(reasons) <= REASONS.keys()


def test_bounds_that_nothing_could_pass_are_refused():
    with pytest.raises(ValueError, match="min_area_ratio: expected at most max_area_ratio 0.5, got 0.6"):
        Filters(min_area_ratio=0.6, max_area_ratio=0.5)
    for name in ("min_in_box", "min_largest_part"):
        for value in (-0.1, 7):
            with pytest.raises(ValueError, match=f"^{name}: expected a share from 0 to 1, got {value}"):
                Filters(**{name: value})
    for name in ("min_area_ratio", "max_area_ratio"):
        with pytest.raises(ValueError, match=f"^{name}: expected at least 0, got -1"):
            Filters(**{name: -1})
    with pytest.raises(ValueError, match="^min_score: expected at most 1, got 5"):
        Filters(min_score=5)
    with pytest.raises(ValueError, match="min_score: expected a number, got NaN"):
        Filters(min_score=float("nan"))
