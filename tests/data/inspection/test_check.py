"""What a check of a dataset finds; tests/cli/test_data.py runs it as a user does."""

import json

import cv2
import numpy as np
import pytest

pytest.importorskip("detectron2")

from detectron2.data import DatasetCatalog, MetadataCatalog

from insight.data.datasets.coco import register_coco
from insight.data.datasets.oriented import register_oriented
from insight.data.inspection.check import check_dataset

NAME = "check_test"


@pytest.fixture
def register():
    """Register a dataset under NAME, for the test alone."""
    yield lambda function, *args, **options: function(NAME, *args, **options)
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


@pytest.mark.parametrize("listed", [[], ["gone.png"], ["cut.png"]])
def test_a_coco_file_without_a_usable_image_is_fatal(register, tmp_path, listed):
    (tmp_path / "cut.png").write_bytes(b"")
    path = tmp_path / "coco.json"
    images = [{"id": i, "file_name": name, "height": 8, "width": 8} for i, name in enumerate(listed)]
    path.write_text(json.dumps({"images": images, "annotations": [], "categories": [{"id": 1, "name": "ship"}]}))
    register(register_coco, path, tmp_path)
    found = check_dataset(NAME)
    assert found.fatal == [f"{path}: no usable image"]
    assert (len(found.wrong), found.images) == (len(listed), 0)


def test_a_folder_of_oriented_boxes_without_a_usable_image_is_fatal(register, tmp_path):
    for name in ("images", "labelTxt"):
        (tmp_path / name).mkdir()
    image, label = tmp_path / "images" / "a.png", tmp_path / "labelTxt" / "a.txt"
    cv2.imwrite(str(image), np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8))
    label.write_text("")
    register(register_oriented, tmp_path, ("ship",))
    found = check_dataset(NAME)
    assert not found.fatal and not found.wrong and found.images == 1  # it needs no box
    whole = image.read_bytes()
    image.unlink()
    (tmp_path / "images" / "b.png").write_bytes(whole[:1000])
    label.rename(tmp_path / "labelTxt" / "b.txt")
    found = check_dataset(NAME)
    assert found.fatal == [f"{tmp_path}: no usable image"] and len(found.wrong) == 1


def test_the_cause_alone_is_told_where_nothing_can_be_read(register, tmp_path):
    register(register_coco, tmp_path / "gone.json", tmp_path)
    assert check_dataset(NAME).fatal == [f"no such file: {tmp_path / 'gone.json'}"]


def test_images_of_one_file_are_told(register, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8))
    path = tmp_path / "coco.json"
    images = [{"id": i, "file_name": "a.png", "height": 8, "width": 8} for i in (3, 5, 7)]
    path.write_text(json.dumps({"images": images, "annotations": [], "categories": [{"id": 1, "name": "ship"}]}))
    register(register_coco, path, tmp_path)
    found = check_dataset(NAME)
    assert not found.fatal and not found.wrong and found.images == 3
    assert found.notes == [
        f"{path}: 2 images with the file of an earlier one (a.png, a.png): to each, what the other lists is background"
    ]
