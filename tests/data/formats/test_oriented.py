"""Files of oriented boxes: what is read, and the message for each mistake."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from insight.data.formats.file_check import FileCheck
from insight.data.formats.oriented import find_oriented, read_dota, read_oriented, read_soda_a, read_yolo_obb
from insight.data.formats.yolo_text import class_names_of
from insight.structures.oriented_boxes import oriented_corners

DOTA = """imagesource:GoogleEarth\r
gsd:0.255\r
1 2 11 2 11 8 1 8 ship 0\r
\r
1.5 2 11 2 11 8 1 8 large-vehicle 1\r
-3 2 11 2 11 8 -3 8 harbor 2
0 0 4 0 4 4 0 4 plane
"""
DIGITS = "9" * 5000  # more than Python makes a number of


def soda(*annotations):
    return {
        "images": {"file_name": "00001.jpg", "height": 100, "width": 120},
        "categories": [{"id": 0, "name": "airplane"}, {"id": 4, "name": "ship"}, {"id": 9, "name": "ignore"}],
        "annotations": [{"poly": poly, "category_id": category} for poly, category in annotations],
    }


def test_a_dota_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(DOTA.encode())
    labels = read_dota(path)
    assert labels.corners.dtype == np.float32 and labels.corners.shape == (4, 4, 2) and len(labels) == 4
    assert labels.corners[1].tolist() == [[1.5, 2], [11, 2], [11, 8], [1, 8]]
    assert labels.class_names == ["ship", "large-vehicle", "harbor", "plane"]
    assert labels.difficult.tolist() == [False, True, True, False]


def test_an_empty_dota_file_has_no_boxes(tmp_path):
    (tmp_path / "a.txt").touch()
    labels = read_dota(tmp_path / "a.txt")
    assert labels.corners.shape == (0, 4, 2) and labels.class_names == [] and labels.difficult.shape == (0,)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1 2 3 4 5 6 7 ship 0", "line 2: expected x1 y1 .* got '1 2 3 4 5 6 7 ship 0'"),
        ("1 2 3 4 5 6 7 nan ship 0", "line 2: expected x1 y1"),
        ("1 2 3 4 5 6 7 8", "line 2: expected x1 y1"),
        ("1 2 3 4 5 6 7 8 0 ship", "line 2: expected x1 y1"),
        ("1 2 3 4 5 6 7 8 ship yes", "line 2: expected difficult as 0, 1 or 2, got 'yes'"),
        pytest.param(f"1 2 3 4 5 6 7 8 ship {DIGITS}", "line 2: expected difficult as 0, 1 or 2, got '99", id="digits"),
        ("1 2 3 4 5 6 7 8 storage tank 0", "line 2: expected x1 y1"),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, message):
    path = tmp_path / "a.txt"
    path.write_text(f"1 2 11 2 11 8 1 8 ship 0\n{line}\n")
    with pytest.raises(ValueError, match=message) as caught:
        read_dota(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_what_is_no_text(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(ValueError, match="a.txt: not a text file"):
        read_dota(tmp_path / "a.txt")
    with pytest.raises(FileNotFoundError, match="no such file: .*b.txt"):
        read_dota(tmp_path / "b.txt")


def test_a_soda_a_file(tmp_path, caplog):
    pentagon = [10, 10, 20, 10, 20, 20, 15, 20, 10, 20]  # a square with a corner too many
    content = soda(
        ([1, 2, 11, 2, 11, 8, 1, 8], 4), ([0, 0, 9, 0, 9, 9, 0, 9], 9), (pentagon, 0), ([3, 3, 4, 4], 0), ([], 9)
    )
    (tmp_path / "a.json").write_text(json.dumps(content))
    labels = read_soda_a(tmp_path / "a.json")
    assert labels.class_names == ["ship", "airplane"] and labels.difficult.tolist() == [False, False]
    assert labels.corners[0].tolist() == [[1, 2], [11, 2], [11, 8], [1, 8]]
    assert sorted(labels.corners[1].tolist()) == [[10, 10], [10, 20], [20, 10], [20, 20]]
    assert "left out 1 polygon of fewer than 3 corners: 3" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "a.json: not JSON"),
        (json.dumps([]), 'not a SODA-A file: expected lists "categories" and "annotations"'),
        (json.dumps({"categories": []}), 'not a SODA-A file: expected lists "categories" and "annotations"'),
        (json.dumps({"categories": [{"id": 1}], "annotations": []}), "categories need id and name"),
        (json.dumps(soda(([1, 2, 3], 0))), r"annotations\[0\]: expected poly .* got \[1, 2, 3\]"),
        (json.dumps(soda(([1, 2, 3, None, 5, 6, 7, 8], 0))), r"annotations\[0\]: expected poly"),
        (json.dumps(soda(([0, 0, 9, 0, 9, 9, 0, 9], 0), (None, 0))), r"annotations\[1\]: expected poly"),
        (json.dumps(soda(([0, 0, 9, 0, 9, 9, 0, 9], 7))), r"annotations\[0\]: unknown category_id 7"),
        pytest.param(
            json.dumps(soda(([0, 0, 9, 0, 9, 9, 0, 9], DIGITS))),
            r"annotations\[0\]: unknown category_id '99",
            id="digits",
        ),
    ],
)
def test_a_wrong_soda_a_file_is_one_line(tmp_path, content, message):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_soda_a(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def lay(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_pairs_of_both_layouts(tmp_path, caplog):
    dota, soda_a = tmp_path / "dota", tmp_path / "soda"
    lay(dota, "images/P1.png", "images/P2.png", "images/P3.png", "labelTxt/P2.txt", "labelTxt/P1.txt")
    assert find_oriented(dota) == [(dota / f"images/{n}.png", dota / f"labelTxt/{n}.txt") for n in ("P1", "P2")]
    assert "left out 1 image without a label file: images/P3.png" in caplog.text
    lay(soda_a, "Images/1.jpg", "Images/2.jpg", "Annotations/train/2.json", "Annotations/val/1.json",
        "Annotations/val/._1.json")  # fmt: skip
    assert find_oriented(soda_a) == [
        (soda_a / "Images/2.jpg", soda_a / "Annotations/train/2.json"),
        (soda_a / "Images/1.jpg", soda_a / "Annotations/val/1.json"),
    ]
    caplog.clear()
    assert find_oriented(soda_a, "val") == [(soda_a / "Images/1.jpg", soda_a / "Annotations/val/1.json")]
    assert not caplog.text
    with pytest.raises(ValueError, match="Annotations/test: no .json files"):
        find_oriented(soda_a, "test")


def test_images_without_labels_are_wrong_in_a_data_set(tmp_path):
    lay(tmp_path, "Images/1.jpg", "Images/2.jpg", "Annotations/train/1.json", "Annotations/val/2.json")
    assert len(find_oriented(tmp_path, "val", FileCheck(tmp_path))) == 1  # 1.jpg is of another split
    lay(tmp_path, "Images/test/3.jpg")  # its labels are not published
    assert len(find_oriented(tmp_path, "", FileCheck(tmp_path))) == 2
    lay(tmp_path, "Images/4.jpg", "Images/5.jpg")
    for split in ("", "val"):
        with pytest.raises(ValueError, match="images need a label file in Annotations/; 2 .*: Images/4.jpg, Images/5"):
            find_oriented(tmp_path, split, FileCheck(tmp_path))
        check = FileCheck(tmp_path, strict=False)
        assert [image.name for image, _ in find_oriented(tmp_path, split, check)] == ["1.jpg", "2.jpg"][bool(split) :]
        assert [len(names) for names in check.problems.values()] == [2]
    lay(tmp_path, "Images/test/6.jpg", "Annotations/test/6.json")  # they are
    with pytest.raises(ValueError, match="images need a label file in Annotations/; 3 are wrong"):
        find_oriented(tmp_path, "val", FileCheck(tmp_path))


def test_folders_that_are_half_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder: .*none"):
        find_oriented(tmp_path / "none")
    lay(tmp_path, "images/P1.png")
    with pytest.raises(ValueError, match=r"expected images/ and labelTxt/ \(DOTA\), .*; `insight convert` makes"):
        find_oriented(tmp_path)
    (tmp_path / "labelTxt").mkdir()
    with pytest.raises(ValueError, match="labelTxt: no .txt files"):
        find_oriented(tmp_path)
    lay(tmp_path, *(f"labelTxt/P{i}.txt" for i in range(1, 7)))
    with pytest.raises(
        ValueError, match=r"label files need an image in images/; 5 are wrong: labelTxt/P2.txt, labelTxt/P3.txt, "
    ):
        find_oriented(tmp_path)
    lay(tmp_path, "images/P1.jpg")
    with pytest.raises(ValueError, match="image names must be unique; 1 is wrong: images/P1.png"):
        find_oriented(tmp_path)
    check = FileCheck(tmp_path, strict=False)
    assert find_oriented(tmp_path, check=check) == [(tmp_path / "images/P1.jpg", tmp_path / "labelTxt/P1.txt")]
    assert [len(names) for names in check.problems.values()] == [1, 5]
    (tmp_path / "labelTxt/P1.txt").unlink()
    with pytest.raises(ValueError, match="no label file has an image in images/"):
        find_oriented(tmp_path, check=check)


def test_needs_no_detectron2():
    code = "import sys; sys.modules['detectron2'] = None; import insight.data.formats.oriented"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.real_data
def test_the_real_files(real_data):
    pairs = find_oriented(real_data / "dota_obb")
    assert len(pairs) == 6
    count = {}
    for image, label in pairs:
        labels = read_oriented(label)
        count[image.stem] = len(labels)
        if not len(labels):
            continue
        width, height = Image.open(image).size
        inside = oriented_corners(labels.corners).numpy()
        assert (inside.max((0, 1)) <= (width + 2, height + 2)).all() and (inside.min((0, 1)) >= -2).all()
        ours = sorted(cv2.contourArea(box) for box in labels.corners)
        lines = [line.split() for line in label.read_text().splitlines() if line[0].isdigit() or line[0] == "-"]
        theirs = sorted(cv2.contourArea(np.array(line[:8], np.float32).reshape(4, 2)) for line in lines)
        np.testing.assert_allclose(ours, theirs)
    assert count["P0706"] == 536 and count["P1888"] == 64 and count["P1088__1__1024___768"] == 0
    assert read_oriented(pairs[0][1]).class_names.count("ship") > 500


def test_yolo_obb(tmp_path):
    for folder in ("images/train", "labels/train"):
        (tmp_path / folder).mkdir(parents=True)
    image, label = tmp_path / "images/train/a.png", tmp_path / "labels/train/a.txt"
    Image.fromarray(np.zeros((50, 200, 3), np.uint8)).save(image)
    label.write_text("1 0.1 0.2 0.3 0.2 0.3 0.6 0.1 0.6\n\n0 0 0 1 0 1 1 0 1\n")
    assert find_oriented(tmp_path) == [(image, label)]
    assert read_oriented(label, image).class_names == ["1", "0"]  # the dataset names none
    (tmp_path / "data.yaml").write_text("names: {0: ship, 1: plane}")
    labels = read_yolo_obb(label, (50, 200), {0: "ship", 1: "plane"})
    assert labels.class_names == ["plane", "ship"] and not labels.difficult.any()
    np.testing.assert_allclose(labels.corners[0], [(20, 10), (60, 10), (60, 30), (20, 30)], atol=1e-4)
    numbers = "0 0 1 0 1 1 0 1"
    for line in ("0 0 0 1 0 1 1 0", f"ship {numbers}", "0 0 0 1 0 1 1 0 nan", f"0.5 {numbers}", f"{DIGITS} {numbers}"):
        label.write_text(f"0 0 0 1 0 1 1 0 1\n{line}\n")
        with pytest.raises(ValueError, match=r"a.txt, line 2: expected class x1 y1 x2 y2 x3 y3 x4 y4, got '"):
            read_yolo_obb(label, (50, 200), {0: "ship"})
    label.write_text("3 0 0 1 0 1 1 0 1\n")
    with pytest.raises(ValueError, match="a.txt: class 3 has no name; the dataset names 0"):
        read_yolo_obb(label, (50, 200), {0: "ship"})


def test_names_of_yolo_classes(tmp_path):
    def named(folder, file, text):
        (tmp_path / folder / "labels").mkdir(parents=True)
        (tmp_path / folder / file).write_text(text)
        return class_names_of(tmp_path / folder / "labels" / "a.txt")

    assert named("a", "data.yaml", "names: [ship, plane]") == {0: "ship", 1: "plane"}
    assert named("b", "mine.yml", "names: {3: ship}") == {3: "ship"}
    assert named("c", "classes.txt", "ship\nstorage tank\n") == {0: "ship", 1: "storage tank"}
    with pytest.raises(ValueError, match='data.yaml: expected "names" of the classes, as a list or by number'):
        named("d", "data.yaml", "nc: 3")


def test_dota_under_a_folder_named_labels_is_no_yolo(tmp_path):
    dota = tmp_path / "labels" / "dota"
    lay(dota, "images/P1.png", "labelTxt/P1.txt")
    (dota / "labelTxt/P1.txt").write_text("1 1 9 1 9 9 1 9 ship 0\n")
    ((image, label),) = find_oriented(dota)
    assert read_oriented(label, image).class_names == ["ship"]
