"""COCO files as they are read: sizes of images and RLEs, names of categories."""

import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from insight.data.formats.coco import read_coco
from insight.data.formats.file_check import FileCheck


@pytest.fixture
def write(tmp_path):
    """Write a COCO file of two images, of which the first has an object, with some things changed."""

    def save(image=(), mask=(), category=()):
        rle = {"size": [64, 32], "counts": [100, 48, 1900], **dict(mask)}
        content = {
            "images": [
                {"id": 1, "file_name": "a.png", "height": 64, "width": 32, **dict(image)},
                {"id": 2, "file_name": "b.png", "height": 64, "width": 32},
            ],
            "annotations": [{"id": 5, "image_id": 1, "category_id": 3, "bbox": [1, 36, 2, 28], "segmentation": rle}],
            "categories": [{"id": 3, "name": "ship", **dict(category)}],
        }
        path = tmp_path / "coco.json"
        path.write_text(json.dumps(content))
        return path

    return save


def test_sizes_written_with_a_point_become_int(write):
    expected = read_coco(write())
    content = read_coco(write({"height": 64.0, "width": 32.0}, {"size": [64.0, 32.0]}))
    assert content == expected
    mask = content["annotations"][0]["segmentation"]
    sizes = [content["images"][0]["height"], content["images"][0]["width"], *mask["size"]]
    assert [type(value) for value in sizes] == [int] * 4
    assert coco_mask.area(coco_mask.frPyObjects(mask, 64, 32)) == 48
    assert np.zeros(sizes[:2]).shape == (64, 32)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ({"height": 64.5}, r"height and a width in whole pixels; 1 are wrong: a.png \(32 x 64.5\)$"),
        ({"width": 1e-3}, r"height and a width in whole pixels; 1 are wrong: a.png \(0.001 x 64\)$"),
        ({"height": True}, "height and a width in pixels; 1 are wrong: a.png$"),
        ({"width": -32.0}, "height and a width in pixels; 1 are wrong: a.png$"),
        ({"width": "32"}, "height and a width in pixels; 1 are wrong: a.png$"),
    ],
)
def test_other_sizes_are_wrong(write, image, message):
    path = write(image)
    with pytest.raises(ValueError, match=message) as caught:
        read_coco(path)
    assert str(caught.value).startswith(f"{path}: images need a ")
    content = read_coco(path, check=FileCheck(path, strict=False))
    assert [i["id"] for i in content["images"]] == [2] and not content["annotations"]


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ([64.5, 32], "annotations have an RLE of another size than their image; 1 are wrong: 5"),
        ([64, 32, 1], "annotations have an RLE of another size than their image; 1 are wrong: 5"),
        ([True, 2048], "segmentation as polygons or RLE; 1 are wrong: 5"),
    ],
)
def test_an_rle_has_the_size_of_its_image(write, size, message):
    with pytest.raises(ValueError, match=message):
        read_coco(write(mask={"size": size}))


@pytest.mark.parametrize("name", [1, 1.5, True, ["ship"], {"en": "ship"}])
@pytest.mark.parametrize("classes", [None, ["1"]])
def test_category_names_are_text(write, name, classes):
    path = write(category={"name": name})
    for strict in (True, False):  # no set can be used without its categories
        with pytest.raises(ValueError) as caught:
            read_coco(path, classes=classes, check=FileCheck(path, strict))
        assert str(caught.value) == f"{path}: category names must be text; 1 are wrong: {name}"


def test_a_category_without_name_is_told_and_an_empty_name_is_one(write):
    with pytest.raises(ValueError, match="categories need id and name; 1 are wrong"):
        read_coco(write(category={"name": None}))
    assert read_coco(write(category={"name": ""}))["categories"] == [{"id": 3, "name": ""}]
    assert read_coco(write(category={"name": "1"}))["categories"] == [{"id": 3, "name": "1"}]
