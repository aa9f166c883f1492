"""Folders of oriented boxes as Detectron2 datasets."""

import shutil

import numpy as np
import pytest

pytest.importorskip("detectron2")

import cv2
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

from insight.config import load_config
from insight.data.datasets import dota, soda_a
from insight.data.datasets.coco import register_from_config
from insight.data.datasets.oriented import load_oriented, register_oriented


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "labelTxt").mkdir()
    for name, text in (("b", ""), ("a", "1 2 11 4 10 8 1 7 ship 1\n3 3 9 3 9 3 3 3 plane 0\n")):
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), np.zeros((30, 40, 3), np.uint8))
        (tmp_path / "labelTxt" / f"{name}.txt").write_text(text)
    return tmp_path


def test_dicts(folder, caplog):
    first, second = load_oriented(folder, dota.CLASSES)
    assert first["file_name"] == str(folder / "images" / "a.png") and first["image_id"] == 1
    assert (first["height"], first["width"]) == (30, 40) and second["annotations"] == []
    assert first["annotations"] == [
        {"bbox": [1, 2, 11, 8], "bbox_mode": BoxMode.XYXY_ABS, "category_id": 1, "iscrowd": 0,
         "oriented_box": [1, 2, 11, 4, 10, 8, 1, 7], "difficult": True}
    ]  # fmt: skip
    assert f"boxes without area: 1 ({folder / 'labelTxt' / 'a.txt'}: box 1)" in caplog.text


def test_an_unknown_class_is_named(folder):
    with pytest.raises(ValueError, match="classes are ship, car; 1 is wrong: .*a.txt: 1 box of 'plane'; .*skip"):
        load_oriented(folder, ("ship", "car"))


def test_what_could_be_skipped_says_so(folder):
    (folder / "labelTxt" / "b.txt").write_text("1 2 3\n")
    with pytest.raises(ValueError, match="b.txt, line 1: expected .*; DATASETS.BAD skip leaves out"):
        load_oriented(folder, dota.CLASSES)


def test_boxes_outside_their_image_are_wrong(folder, caplog):
    """The image is 40 x 30; the last box touches it."""
    places = [(50, 5), (5, 40), (-90, 5), (5, -20), (38, 28)]
    lines = [f"{x} {y} {x + 8} {y} {x + 8} {y + 6} {x} {y + 6} ship 0" for x, y in places]
    (folder / "labelTxt" / "b.txt").write_text("\n".join(lines))
    with pytest.raises(
        ValueError, match="boxes lie outside their image; 4 are wrong: .*b.txt: box 0, .*; DATASETS.BAD skip"
    ):
        load_oriented(folder, dota.CLASSES)
    _, second = load_oriented(folder, dota.CLASSES, strict=False)
    assert [a["bbox"] for a in second["annotations"]] == [[38, 28, 46, 34]]
    assert "boxes lie outside their image: 4 (" in caplog.text


def test_a_set_that_is_half_copied_is_an_error(folder, caplog):
    (folder / "labelTxt" / "b.txt").unlink()
    with pytest.raises(
        ValueError, match="images need a label file in labelTxt/; 1 is wrong: images/b.png; DATASETS.BAD skip"
    ):
        load_oriented(folder, dota.CLASSES)
    assert len(load_oriented(folder, dota.CLASSES, strict=False)) == 1
    assert "images need a label file in labelTxt/: 1 (images/b.png)" in caplog.text


def test_what_is_wrong_can_be_skipped(folder, caplog):
    shutil.copy(folder / "images" / "a.png", folder / "images" / "bare.png")
    (folder / "images" / "c.png").write_bytes(b"no image")
    cut = folder / "images" / "cut.jpg"
    cv2.imwrite(str(cut), np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8))
    cut.write_bytes(cut.read_bytes()[:-200])
    for name, text in (("c", ""), ("cut", ""), ("gone", ""), ("d", "1 2 3\n")):
        (folder / "labelTxt" / f"{name}.txt").write_text(text)
    shutil.copy(folder / "images" / "a.png", folder / "images" / "d.png")
    with (folder / "labelTxt" / "b.txt").open("a") as file:
        file.write("1 2 11 4 10 8 1 7 boat 0\n")
    register_oriented("test_skip_oriented", folder, dota.CLASSES)
    try:
        with pytest.raises(ValueError, match="label files need an image in images/; 1 is wrong: labelTxt/gone.txt"):
            DatasetCatalog.get("test_skip_oriented")
        register_from_config(load_config("", ["DATASETS.BAD", "skip"]))
        dicts = DatasetCatalog.get("test_skip_oriented")
    finally:
        register_from_config(load_config())
        DatasetCatalog.remove("test_skip_oriented")
        MetadataCatalog.remove("test_skip_oriented")
    assert [(d["file_name"].rsplit("/", 1)[1], len(d["annotations"])) for d in dicts] == [("a.png", 1), ("b.png", 0)]
    (message,) = (m for m in caplog.messages if "left out" in m)
    for reason in (
        "label files need an image in images/: 1 (labelTxt/gone.txt)",
        "images need a label file in labelTxt/: 1 (images/bare.png)",
        "images cannot be read: 1 (",
        f"images cannot be decoded to the size stated by their annotations: 1 (cannot read image {cut}",
        "label files cannot be used: 1 (",
        f"container-crane, airport, helipad: 1 ({folder / 'labelTxt' / 'b.txt'}: 1 box of 'boat')",
    ):
        assert reason in message


def test_registered():
    assert MetadataCatalog.get("dota_val").thing_classes == list(dota.CLASSES)
    assert MetadataCatalog.get("soda_a_test").thing_classes == list(soda_a.CLASSES)
    assert {"dota_train", "soda_a_train", "soda_a_val"} <= set(DatasetCatalog.list())


@pytest.mark.real_data
def test_the_real_boxes(real_data, tmp_path):
    shutil.copytree(real_data / "dota_obb", tmp_path / "dota")
    dicts = load_oriented(tmp_path / "dota", dota.CLASSES)
    count = {d["file_name"].rsplit("/", 1)[1]: len(d["annotations"]) for d in dicts}
    assert count["P0706.png"] == 536 and count["P1888.png"] == 64 and len(dicts) == 6
    big = next(d for d in dicts if d["file_name"].endswith("P0706.png"))
    assert (big["height"], big["width"]) == (1182, 1111)
