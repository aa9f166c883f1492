"""Pascal VOC's files, against Detectron2's reader and OpenCV's rotated rectangles."""

import math

import cv2
import numpy as np
import pytest

from insight.annotation.conversion import convert, recognise
from insight.data.formats.coco import read_coco
from insight.data.formats.voc import read_voc
from insight.errors import InputError

CORNERS = dict(zip(("left_top", "right_top", "right_bottom", "left_bottom"), ((10, 20), (40, 24), (38, 40), (8, 36))))


def tags(**values):
    return "".join(f"<{name}>{value}</{name}>" for name, value in values.items())


def box(*sides):
    return f"<bndbox>{tags(**dict(zip(('xmin', 'ymin', 'xmax', 'ymax'), sides)))}</bndbox>"


def rotated(*numbers):
    return f"<robndbox>{tags(**dict(zip(('cx', 'cy', 'w', 'h', 'angle'), numbers)))}</robndbox>"


def write(folder, stem, *objects, size=(100, 80), filename=None):
    """A file of (class, XML of the box) objects."""
    folder.mkdir(parents=True, exist_ok=True)
    content = "".join(f"<object>{tags(name=name, difficult=0)}{shape}</object>" for name, shape in objects)
    shape = f"<size>{tags(width=size[0], height=size[1], depth=3)}</size>"
    name = tags(filename=f"{stem}.jpg" if filename is None else filename)
    (folder / f"{stem}.xml").write_text(f'<?xml version="1.0"?><annotation>{name}{shape}{content}</annotation>')


def test_boxes_are_those_of_detectron2(tmp_path):
    load = pytest.importorskip("detectron2.data.datasets.pascal_voc").load_voc_instances
    write(tmp_path / "Annotations", "a", ("ship", box(1, 1, 20, 30)), ("plane", box(41.5, 7, 100, 80)))
    write(tmp_path / "Annotations", "b", size=(30, 40))
    (tmp_path / "ImageSets/Main").mkdir(parents=True)
    (tmp_path / "ImageSets/Main/all.txt").write_text("a\nb\n")
    (tmp_path / "JPEGImages").mkdir()
    theirs = load(str(tmp_path), "all", ["plane", "ship"])
    assert recognise(tmp_path) == "voc"
    ours = read_voc(tmp_path)
    assert [c["name"] for c in ours["categories"]] == ["plane", "ship"]
    for entry, image in zip(theirs, ours["images"], strict=True):
        assert entry["file_name"].endswith(f"JPEGImages/{image['file_name']}")
        assert (entry["height"], entry["width"]) == (image["height"], image["width"])
        found = [a for a in ours["annotations"] if a["image_id"] == image["id"]]
        for a, b in zip(entry["annotations"], found, strict=True):
            x, y, width, height = b["bbox"]
            assert a["bbox"] == [x, y, x + width, y + height] and a["category_id"] == b["category_id"] - 1


def test_rotated_boxes(tmp_path):
    angle = math.radians(30)
    corners = "".join(tags(**{f"x_{at}": x, f"y_{at}": y}) for at, (x, y) in CORNERS.items())
    write(tmp_path, "a", ("ship", rotated(50, 40, 30, 10, angle)), ("ship", f"<robndbox>{corners}</robndbox>"))
    first, second = (np.reshape(a["oriented_box"], (4, 2)) for a in read_voc(tmp_path)["annotations"])
    expected = cv2.boxPoints(((50, 40), (30, 10), 30))
    np.testing.assert_allclose(sorted(first.tolist()), sorted(expected.tolist()), atol=1e-4)
    assert second.tolist() == [list(corner) for corner in CORNERS.values()]


def test_a_converted_folder_is_a_coco_file(tmp_path):
    write(tmp_path / "voc", "a", ("ship", box(1, 1, 20, 30)), ("ship", box(5, 5, 4, 9)), ("ship", ""),
          ("plane", rotated(50, 40, 30, 10, 0.5)), filename=r"C:\images\a.jpg")  # fmt: skip
    assert recognise(tmp_path / "voc") == "voc"
    done = convert(tmp_path / "voc", tmp_path / "a.json")
    assert (done.source_format, done.images, done.objects) == ("voc", 1, 2)
    assert done.losses == {"boxes without area": 1, "objects without a box": 1}
    content = read_coco(tmp_path / "a.json", mixed=True)
    assert [image["file_name"] for image in content["images"]] == ["a.jpg"]
    assert [a["bbox"] for a in content["annotations"]][0] == [0, 0, 20, 30]
    assert "oriented_box" in content["annotations"][1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation>", "a.xml: not XML"),
        ('<?xml version="1.0" encoding="none"?><annotation/>', "a.xml: not XML"),
        ("<annotations/>", "its root is <annotations>, expected <annotation>"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', "expected XML without document types"),
        ("<annotation><filename>a.jpg</filename></annotation>", "expected a number as width, got None"),
        (f"<annotation><size>{tags(width=0, height=5)}</size></annotation>", "its size is 0 x 5"),
        (f"<annotation><size>{tags(width=5, height=5)}</size></annotation>", "it names no image"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path, text, message):
    (tmp_path / "a.xml").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_voc(tmp_path)
    assert str(tmp_path / "a.xml") in str(caught.value) and "\n" not in str(caught.value)


def test_wrong_numbers_no_file_and_two_of_one_image(tmp_path):
    with pytest.raises(InputError, match=r"expected Pascal VOC's \.xml files, got none"):
        read_voc(tmp_path)
    write(tmp_path, "a", ("ship", box(1, "nan", 20, 30)))
    with pytest.raises(InputError, match="a.xml: .*expected a number as ymin, got 'nan'"):
        read_voc(tmp_path)
    write(tmp_path, "a", ("ship", rotated(1, 2, 3)))
    with pytest.raises(InputError, match="a.xml: .*expected a number as h, got None"):
        read_voc(tmp_path)
    write(tmp_path, "a", (" ", box(1, 1, 20, 30)))
    with pytest.raises(InputError, match="a.xml: .*an object has no name"):
        read_voc(tmp_path)
    write(tmp_path, "a")
    write(tmp_path / "b", "a")
    with pytest.raises(InputError, match=r"expected one \.xml file for each image, got more for a.jpg"):
        read_voc(tmp_path)
