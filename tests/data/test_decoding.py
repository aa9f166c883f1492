"""Decoding images before they are needed: what is told, and that it is done once."""

import subprocess
import sys

import cv2
import numpy as np

from insight.data import decoding
from insight.data.decoding import undecodable


def test_each_file_that_is_wrong_is_told_in_a_line(tmp_path):
    good, cut, gone = (tmp_path / f"{name}.png" for name in ("good", "cut", "gone"))
    cv2.imwrite(str(good), np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8))
    cut.write_bytes(good.read_bytes()[:1000])
    told = undecodable({good: (30, 40), cut: (30, 40), gone: (30, 40)})
    assert told.keys() == {cut, gone}
    assert told[cut].startswith(f"cannot read image {cut}: ") and told[gone] == f"no such image: {gone}"
    assert undecodable({good: (40, 30)}) == {good: f"{good}: is 40 x 30 pixels, its annotations say 30 x 40"}


def test_what_is_good_is_decoded_once_and_what_is_wrong_again(tmp_path, monkeypatch):
    good, cut = tmp_path / "good.png", tmp_path / "cut.png"
    cv2.imwrite(str(good), np.zeros((30, 40, 3), np.uint8))
    cut.write_bytes(b"")
    seen = []

    def decode_here(function, items, *_):
        seen.append([path for path, _ in items])
        return map(function, items)

    monkeypatch.setattr(decoding, "map_in_processes", decode_here)
    assert undecodable({good: (30, 40), cut: (30, 40)}).keys() == {cut}
    cut.write_bytes(good.read_bytes())
    for _ in range(2):
        assert undecodable({good: (30, 40), cut: (30, 40)}) == {}
    assert seen == [[good, cut], [cut]]


def test_needs_no_detectron2():
    code = "import sys; sys.modules['detectron2'] = None; import insight.data.decoding"
    subprocess.run([sys.executable, "-c", code], check=True)
