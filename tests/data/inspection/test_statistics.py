"""The size of an object, by mask, oriented box or box."""

import pytest

pytest.importorskip("detectron2")

from detectron2.structures import BoxMode

from insight.data.inspection.statistics import object_area

BOX = {"bbox": [0, 0, 20, 10], "bbox_mode": BoxMode.XYWH_ABS}


@pytest.mark.parametrize(
    "box", [[20, 10, 8, 6, 30], [16, 7, 24, 7, 24, 13, 16, 13], [[16, 7], [24, 7], [24, 13], [16, 13]]]
)
def test_of_an_oriented_box_in_each_form(box):
    assert object_area({**BOX, "oriented_box": box}, (30, 40)) == pytest.approx(48, rel=1e-5)


def test_of_a_mask_before_a_box():
    square = [[2, 2, 6, 2, 6, 6, 2, 6]]
    assert object_area({**BOX, "segmentation": square, "oriented_box": [20, 10, 8, 6, 30]}, (30, 40)) == 16
    assert object_area({**BOX, "segmentation": []}, (30, 40)) == 200
