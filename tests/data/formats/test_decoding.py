"""Decode images before they are needed: the messages, and that it is done once."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

from insight.data.formats import decoding
from insight.data.formats.decoding import UNDECODABLE, undecodable, without_undecodable
from insight.data.formats.file_check import FileCheck


def test_each_file_that_is_wrong_is_told_in_a_line(tmp_path):
    good, cut, gone = (tmp_path / f"{name}.png" for name in ("good", "cut", "gone"))
    cv2.imwrite(str(good), np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8))
    cut.write_bytes(good.read_bytes()[:1000])
    told = undecodable({good: (30, 40), cut: (30, 40), gone: (30, 40)})
    assert told.keys() == {cut, gone}
    assert told[cut].startswith(f"cannot read image {cut}: ") and told[gone] == f"no such image: {gone}"
    assert undecodable({good: (40, 30)}) == {good: f"{good}: is 40 x 30 pixels, its annotations state 30 x 40"}


def test_what_is_good_is_decoded_once_and_what_is_wrong_again(tmp_path, monkeypatch):
    good, cut = tmp_path / "good.png", tmp_path / "cut.png"
    cv2.imwrite(str(good), np.zeros((30, 40, 3), np.uint8))
    cut.write_bytes(b"")
    seen = []

    def decode_here(function, items, *_):
        seen.append(list(items))
        return map(function, items)

    monkeypatch.setattr(decoding, "map_in_processes", decode_here)
    assert undecodable({good: (30, 40), cut: (30, 40)}).keys() == {cut}
    cut.write_bytes(good.read_bytes())
    for _ in range(2):
        assert undecodable({good: (30, 40), cut: (30, 40)}) == {}
    assert seen == [[good, cut], [cut]]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_entries_of_one_file_are_judged_by_their_own_sizes(tmp_path, monkeypatch, order):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.zeros((64, 64, 3), np.uint8))
    decoded = []

    def decode_here(function, items, *_):
        decoded.extend(items)
        return map(function, items)

    monkeypatch.setattr(decoding, "map_in_processes", decode_here)
    images = [{"id": i, "file_name": "a.png", "height": size, "width": size} for i, size in enumerate((32, 64, 64))]
    annotations = [{"id": 9 - i, "image_id": i} for i in range(3)]
    content = {"images": [images[i] for i in order], "annotations": annotations, "categories": []}
    check = FileCheck(tmp_path / "coco.json", strict=False)
    left = without_undecodable(content, tmp_path, check)
    assert left == {
        "images": [images[i] for i in order if i > 0], "annotations": annotations[1:], "categories": []
    }  # fmt: skip
    assert check.problems == {UNDECODABLE: [f"{path}: is 64 x 64 pixels, its annotations state 32 x 32"]}
    assert decoded == [path]


def test_needs_no_detectron2():
    code = "import sys; sys.modules['detectron2'] = None; import insight.data.formats.decoding"
    subprocess.run([sys.executable, "-c", code], check=True)
