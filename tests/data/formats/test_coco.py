"""COCO files as they are read: sizes of images and RLEs, names of categories."""

import json
import os

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from insight.data.formats import coco
from insight.data.formats.coco import ROOT_CATEGORY, read_coco
from insight.data.formats.file_check import FileCheck, read_json
from insight.errors import InputError


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
        ({"height": 64.5}, r"height and a width in whole pixels; 1 is wrong: a.png \(32 x 64.5\)$"),
        ({"width": 1e-3}, r"height and a width in whole pixels; 1 is wrong: a.png \(0.001 x 64\)$"),
        ({"height": True}, "height and a width in pixels; 1 is wrong: a.png$"),
        ({"width": -32.0}, "height and a width in pixels; 1 is wrong: a.png$"),
        ({"width": "32"}, "height and a width in pixels; 1 is wrong: a.png$"),
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
        ([64.5, 32], "annotations have an RLE of another size than their image; 1 is wrong: annotation 5"),
        ([64, 32, 1], "annotations have an RLE of another size than their image; 1 is wrong: annotation 5"),
        ([True, 2048], "segmentation as polygons or RLE; 1 is wrong: annotation 5"),
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
        assert str(caught.value) == f"{path}: category names must be strings; 1 is wrong: {name}"


def test_a_category_without_name_is_told_and_an_empty_name_is_one(write):
    with pytest.raises(ValueError, match="categories need id and name; 1 is wrong"):
        read_coco(write(category={"name": None}))
    assert read_coco(write(category={"name": ""}))["categories"] == [{"id": 3, "name": ""}]
    assert read_coco(write(category={"name": "1"}))["categories"] == [{"id": 3, "name": "1"}]


ROOT = {"id": 0, "name": "ships", "supercategory": "none"}
SHIPS = {"id": 1, "name": "ships", "supercategory": "ships"}


def roboflow(tmp_path, categories, used=1):
    content = {
        "images": [{"id": 0, "file_name": "a.png", "height": 96, "width": 128}],
        "annotations": [{"id": 0, "image_id": 0, "category_id": used, "bbox": [50, 30, 40, 20], "area": 800}],
        "categories": categories,
    }
    path = tmp_path / "_annotations.coco.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("classes", [None, ["ships"]])
def test_roboflows_root_category_does_not_clash_with_a_class(tmp_path, classes, strict):
    path = roboflow(tmp_path, [ROOT, SHIPS])
    check = FileCheck(path, strict)
    content = read_coco(path, classes=classes, check=check)
    assert [c["id"] for c in content["categories"]] == [1] and len(content["annotations"]) == 1
    assert check.problems == {ROOT_CATEGORY: ["category 0"]}


@pytest.mark.parametrize(
    "categories, used",
    [([ROOT, SHIPS], 0), ([{"id": 0, "name": "ships"}, {"id": 1, "name": "ships"}], 1)],
    ids=["with annotations", "of no other"],
)
def test_other_categories_of_one_name_are_wrong(tmp_path, categories, used):
    with pytest.raises(InputError, match="category names are not unique; 1 is wrong: ships"):
        read_coco(roboflow(tmp_path, categories, used))


def test_a_file_is_read_and_checked_once(write, monkeypatch):
    path = write()
    long_ago = path.stat().st_mtime_ns - 10**10
    os.utime(path, ns=(long_ago, long_ago))
    reads = []
    monkeypatch.setattr(coco, "read_json", lambda path: reads.append(path) or read_json(path))
    first = read_coco(path)
    first["annotations"][0]["bbox"] = "spoilt"  # is the caller's own
    for classes, check in ((None, None), (["ship"], FileCheck(path, strict=False))):
        again = read_coco(path, classes=classes, check=check)
        assert again["annotations"][0]["bbox"] == [1, 36, 2, 28]
    assert len(reads) == 1
    assert "segmentation" not in read_coco(path, masks=False)["annotations"][0]
    path.write_text(path.read_text().replace("ship", "tank"))  # of the same size
    assert read_coco(path)["categories"][0]["name"] == "tank"


def test_mistakes_are_told_each_time(write):
    path = write({"height": 64.5})
    long_ago = path.stat().st_mtime_ns - 10**10
    os.utime(path, ns=(long_ago, long_ago))
    for _ in range(2):
        with pytest.raises(InputError, match="in whole pixels; 1 is wrong"):
            read_coco(path)
        check = FileCheck(path, strict=False)
        read_coco(path, check=check)
        assert list(check.problems) == ["images need a height and a width in whole pixels",
                                        "annotations have an unknown image_id"]  # fmt: skip


@pytest.mark.parametrize(
    "text, message",
    [
        ("[" * 50_000, "its lists are nested too deeply"),
        ('{"a":' * 50_000, "its lists are nested too deeply"),
        ("1" * 400, "expected a JSON object"),
        ("1" * 5000, "not JSON .*digits"),
        ('{"images": [], "annotations": [], "categories": [{"id": %s, "name": "x"}]}' % ("1" * 5000), "not JSON"),
        ("\x00", "not JSON"),
        ("", "not JSON"),
    ],
)
def test_absurd_json_is_one_line(tmp_path, text, message):
    path = tmp_path / "coco.json"
    path.write_text(text)
    with pytest.raises(InputError, match=f"coco.json: {message}") as caught:
        read_coco(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize("place", ["bbox", "area", "id", "image_id", "category_id", "iscrowd", "oriented_box"])
@pytest.mark.parametrize("value", [10**400, -(10**400), 1e308])
def test_a_number_of_400_digits_is_one_line_or_harmless(write, place, value):
    path = write()
    content = json.loads(path.read_text())
    annotation = content["annotations"][0]
    annotation[place] = {"bbox": [1, 36, 2, value], "oriented_box": [3, 40, value, 5, 0]}.get(place, value)
    path.write_text(json.dumps(content))
    try:
        read_coco(path)
    except InputError as error:
        assert "\n" not in str(error) and len(str(error)) < 1000
