"""A whole run: what is written, what a kill costs, what bad files do."""

import csv
import itertools
import json
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import torch
from harness import peak_memory
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from insight.annotation import segmentation
from insight.annotation.filters import Filters
from insight.annotation.run import annotate
from insight.annotation.sources import open_source
from insight.runtime.locks import output_folder


def rows(output):
    with open(output / "review.csv", newline="") as file:
        return list(csv.DictReader(file))


def test_what_is_kept_is_coco(dota, segmenter, filters, tmp_path):
    output = tmp_path / "new" / "masks"
    statistics = annotate(open_source(dota), segmenter, filters, output)
    assert (statistics.count("kept"), statistics.count("dropped")) == (4, 3)
    coco = COCO(str(output / "instances.json"))
    assert coco.dataset["categories"] == [{"id": 1, "name": "ship"}, {"id": 2, "name": "tank"}]
    assert coco.dataset["images"] == [
        {"id": i, "file_name": f"{name}.png", "height": 60, "width": 80} for i, name in enumerate("abc", 1)
    ]
    assert coco.getAnnIds() == [1, 3, 5, 7]
    first, cut = coco.loadAnns([1, 3])
    assert first["oriented_box"] == [60, 10, 70, 10, 70, 30, 60, 30] and first["category_id"] == 1
    assert (first["image_id"], first["score"], first["iscrowd"], first["area"]) == (1, 0.6, 0, 200)
    expected = np.zeros((60, 80))
    expected[10:30, 60:70] = 1
    np.testing.assert_array_equal(coco.annToMask(first), expected)
    assert cut["bbox"] == [70, 40, 10, 10]  # of the mask, which ends with the image
    assert coco.dataset["info"]["filters"]["min_score"] == 0.3


def test_what_is_dropped_has_its_reason(dota, segmenter, filters, tmp_path):
    annotate(open_source(dota), segmenter, filters, tmp_path)
    found = [tuple(row.values()) for row in rows(tmp_path)]
    assert found == [
        ("a.png", "1", "ship", "0.6", "", "keep"),
        ("a.png", "2", "tank", "0.2", "score", "drop"),
        ("a.png", "3", "ship", "0.7", "", "keep"),
        ("a.png", "4", "ship", "", "outside", "drop"),
        ("c.png", "5", "ship", "0.65", "", "keep"),
        ("c.png", "6", "tank", "", "no_area", "drop"),
        ("c.png", "7", "tank", "0.78", "", "keep"),
    ]
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["kept"], report["dropped"], report["by_hand"]) == (4, 3, {"kept": 0, "dropped": 0})
    assert {name: count for name, count in report["reasons"].items() if count} == {
        "no_area": 1,
        "outside": 1,
        "score": 1,
    }
    assert report["classes"] == {"ship": {"kept": 3, "dropped": 1}, "tank": {"kept": 1, "dropped": 2}}
    text = (tmp_path / "report.md").read_text()
    assert "7 boxes: 4 masks kept, 3 dropped" in text and "| ship | 4 | 3 | 1 |" in text
    for picture in ("histograms.png", "worst_kept.png", "best_dropped.png"):
        assert picture in text and Image.open(tmp_path / picture).size


def test_corners_on_a_line_have_no_area(dota, segmenter, filters, tmp_path):
    """As some of DOTA's are; the rounding of coordinates may give their hull an area."""
    labels = dota / "labelTxt" / "c.txt"
    line = "27.9 13.0 28.2 13.2 27.6 12.8 28.2 13.2 ship 0"
    far = "2627.9 1713.0 2628.2 1713.2 2627.6 1712.8 2628.2 1713.2 ship 0"
    labels.write_text(labels.read_text() + f"{line}\n{far}\n")
    annotate(open_source(dota), segmenter, filters, tmp_path)
    assert [row["reason"] for row in rows(tmp_path)[-3:]] == ["", "no_area", "no_area"]


def test_a_coco_file_of_boxes(write_coco, segmenter, tmp_path):
    annotate(open_source(*write_coco()), segmenter, Filters(0, 0, 0, 9), tmp_path)
    coco = COCO(str(tmp_path / "instances.json"))
    assert sorted(coco.getAnnIds()) == [20, 22, 50] and coco.getImgIds() == [4, 9]
    horizontal, oriented = coco.loadAnns([20, 22])
    assert horizontal["bbox"] == [40, 20, 20, 10] and horizontal["category_id"] == 3
    assert coco.annToMask(horizontal).sum() == 200 and "oriented_box" not in horizontal
    assert oriented["oriented_box"] == [50, 20, 20, 10, 30]
    assert oriented["bbox"] == [40, 10, 20, 20]  # the file's, though the mask's is larger
    # 20 x 10, rotated by 30 degrees: the box around it is 22.3 x 18.7
    assert coco.annToMask(oriented).any(axis=0).sum() == pytest.approx(22, abs=1)


def test_horizontal_boxes_are_prompted_without_points(write_coco, segmenter, filters, tmp_path):
    asked = []

    def watching(image, prompts):
        asked.append((prompts.count, prompts.points is not None))
        return segmenter(image, prompts)

    watching.settings = {}
    annotate(open_source(*write_coco()), watching, filters, tmp_path)
    assert sorted(asked) == [(1, False), (1, False), (1, True)]


@pytest.mark.parametrize("block", [1, 2, 1024])
def test_a_killed_run_ends_in_the_same_files(dota, segmenter, filters, tmp_path, monkeypatch, read_folder, block):
    monkeypatch.setattr(segmentation, "BLOCK", block)
    annotate(open_source(dota), segmenter, filters, tmp_path / "whole")
    total, segmenter.asked = segmenter.asked, 0
    encode, encoded = segmentation.encode_logits, []

    def dies(*args):
        encoded.append(1)
        if len(encoded) in (2, 4):
            raise KeyboardInterrupt
        return encode(*args)

    monkeypatch.setattr(segmentation, "encode_logits", dies)
    kills = 0
    while True:
        try:
            annotate(open_source(dota), segmenter, filters, tmp_path / "killed")
            break
        except KeyboardInterrupt:
            kills += 1
            journal = tmp_path / "killed" / "masks.journal"
            assert not (tmp_path / "killed" / "instances.json").exists()
            journal.write_bytes(journal.read_bytes()[: -kills * 5])  # and killed while it wrote
    assert kills == (2 if block < 1024 else 1) and segmenter.asked > total
    assert read_folder(tmp_path / "killed") == read_folder(tmp_path / "whole")


def test_a_second_run_makes_no_masks_and_may_filter_otherwise(dota, segmenter, tmp_path, read_folder):
    output = tmp_path / "masks"
    annotate(open_source(dota), segmenter, Filters(), output)
    first, asked = read_folder(output), segmenter.asked
    annotate(open_source(dota), segmenter, Filters(min_score=0.68), output)
    assert segmenter.asked == asked
    assert [row["id"] for row in rows(output) if row["decision"] == "keep"] == ["3", "7"]
    annotate(open_source(dota), segmenter, Filters(), output)
    assert read_folder(output) == first


def test_boxes_that_changed_are_segmented_anew(dota, segmenter, filters, tmp_path):
    annotate(open_source(dota), segmenter, filters, tmp_path)
    asked = segmenter.asked
    labels = dota / "labelTxt" / "c.txt"
    labels.write_text(labels.read_text().replace("65 30", "66 30"))
    annotate(open_source(dota), segmenter, filters, tmp_path)
    assert segmenter.asked == asked + 2  # those of c that can be asked about
    assert rows(tmp_path)[4]["score"] == "0.65"  # of the box around it, which begins at 65 still


def test_masks_of_other_settings_are_not_overwritten(dota, segmenter, filters, tmp_path):
    annotate(open_source(dota), segmenter, filters, tmp_path)
    segmenter.settings = {"weights": "others"}
    with pytest.raises(
        ValueError, match="masks.journal: holds masks of another run, with weights of sha256 none instead"
    ):
        annotate(open_source(dota), segmenter, filters, tmp_path)


def test_a_run_that_made_no_mask_is_in_nobodys_way(dota, segmenter, filters, tmp_path):
    def fails(image, prompts):
        raise RuntimeError("a checkpoint of another model")

    fails.settings = {"weights": "others"}
    with pytest.raises(RuntimeError, match="another model"):
        annotate(open_source(dota), fails, filters, tmp_path)
    assert (tmp_path / "masks.journal").is_file()
    assert annotate(open_source(dota), segmenter, filters, tmp_path).count("kept") == 4


def test_bad_files_are_told_and_the_others_go_on(dota, segmenter, filters, tmp_path, read_folder):
    source = open_source(dota)
    annotate(source, segmenter, filters, tmp_path / "whole")
    image, labels = dota / "images" / "a.png", dota / "labelTxt" / "b.txt"
    good = image.read_bytes(), labels.read_text()
    image.write_bytes(good[0][:200])
    labels.write_text("ship\n")
    source = open_source(dota)
    statistics = annotate(source, segmenter, filters, tmp_path / "bad")
    assert statistics.count("kept") + statistics.count("dropped") == 3
    assert "cannot read image" in source.failures["a.png"] and "b.txt, line 1" in source.failures["b.png"]
    coco = COCO(str(tmp_path / "bad" / "instances.json"))
    assert [i["file_name"] for i in coco.dataset["images"]] == ["c.png"] and coco.getAnnIds() == [5, 7]
    assert "- a.png: cannot read image" in (tmp_path / "bad" / "report.md").read_text()

    image.write_bytes(good[0])  # mended, it is done, and the order is that of a run without trouble
    labels.write_text(good[1])
    asked = segmenter.asked
    annotate(open_source(dota), segmenter, filters, tmp_path / "bad")
    assert segmenter.asked == asked + 3
    assert read_folder(tmp_path / "bad") == read_folder(tmp_path / "whole")


def test_an_image_of_another_size_than_its_source_says(write_coco, segmenter, filters, tmp_path):
    path, images = write_coco()
    Image.fromarray(np.zeros((10, 20, 3), np.uint8)).save(images / "z.png")
    (images / "sub" / "y.png").unlink()
    source = open_source(path, images)
    annotate(source, segmenter, filters, tmp_path)
    assert "z.png: is 20 x 10 pixels, its source says 80 x 60" in source.failures["z.png"]
    assert "no such file" in source.failures["sub/y.png"]


def test_without_any_box(write_boxes, segmenter, filters, tmp_path):
    statistics = annotate(open_source(write_boxes(tmp_path / "d", {"a": []})), segmenter, filters, tmp_path / "o")
    assert statistics.count("kept") == 0 and segmenter.asked == 0
    coco = COCO(str(tmp_path / "o" / "instances.json"))
    assert len(coco.dataset["images"]) == 1 and coco.dataset["annotations"] == []


def test_memory_does_not_grow_with_masks(write_boxes, segmenter, tmp_path, monkeypatch):
    monkeypatch.setattr(segmentation, "BLOCK", 20)
    comb = np.zeros((60, 80), np.uint8, order="F")
    comb[::2] = 1
    long_code = coco_mask.encode(comb)
    monkeypatch.setattr(segmentation, "encode_logits", lambda logits, *_: [long_code] * len(logits))

    def peak(count):
        boxes = [(i % 50, i % 20, i % 50 + 20, i % 20 + 30, "ship") for i in range(count)]
        source = open_source(write_boxes(tmp_path / f"d{count}", {"a": boxes}))
        tracemalloc.start()
        annotate(source, segmenter, Filters(0, 0, 0, 9, 0), tmp_path / f"o{count}")
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(20)  # with all that is imported late
    growth = peak(700) - peak(300)  # both more than the contact sheets hold
    assert growth < 400 * len(long_code["counts"]) / 3


@pytest.mark.slow
def test_memory_does_not_grow_with_images(write_boxes, segmenter, tmp_path):
    """25 images of 1.4 MB take as much of the process's memory as 5 do."""
    boxes = [(7 * i, 9 * i, 7 * i + 30, 9 * i + 20, "ship") for i in range(25)]  # of 5 images, more than a sheet holds

    def peak(count):
        names = [f"{i:02}" for i in range(count)]
        folder = write_boxes(tmp_path / f"d{count}", dict.fromkeys(names, boxes), size=(600, 800))
        outputs = (tmp_path / f"o{count}_{call}" for call in itertools.count())

        def run():
            statistics = annotate(open_source(folder), segmenter, Filters(0, 0, 0, 9, 0), next(outputs))
            assert statistics.count("kept") == 25 * count

        return peak_memory(run, torch.device("cpu"))

    few, many = peak(5), peak(25)
    if few is None:
        pytest.skip("the system does not tell the peak of memory")
    assert many < few + 5 * 600 * 800 * 3


WITHOUT_DETECTRON2 = """
import sys
sys.modules["detectron2"] = None  # importing it now raises ImportError
from insight.annotation.run import annotate, apply_review
"""


def test_needs_no_detectron2():
    done = subprocess.run([sys.executable, "-c", WITHOUT_DETECTRON2], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_another_image_of_the_same_name_is_segmented_anew(write_boxes, filled_boxes, filters, tmp_path):
    boxes = {"a": [(60, 10, 70, 30, "ship")]}
    first, second = write_boxes(tmp_path / "first", boxes), write_boxes(tmp_path / "second", boxes)
    Image.fromarray(np.full((60, 80, 3), 90, np.uint8)).save(second / "images" / "a.png")
    segmenter = filled_boxes()
    annotate(open_source(first), segmenter, filters, tmp_path / "masks")
    annotate(open_source(first), segmenter, filters, tmp_path / "masks")
    assert segmenter.asked == 1, "the same image is not"
    annotate(open_source(second), segmenter, filters, tmp_path / "masks")
    assert segmenter.asked == 2
    Image.fromarray(np.full((90, 120, 3), 90, np.uint8)).save(second / "images" / "a.png")
    annotate(open_source(second), segmenter, filters, tmp_path / "masks")
    (image,) = json.loads((tmp_path / "masks" / "instances.json").read_text())["images"]
    assert segmenter.asked == 3 and (image["width"], image["height"]) == (120, 90)


def test_two_runs_do_not_share_a_folder(dota, segmenter, filters, tmp_path):
    message = "masks: process .* is writing there; wait until it has ended"
    with output_folder(tmp_path / "masks"), pytest.raises(BlockingIOError, match=message):
        annotate(open_source(dota), segmenter, filters, tmp_path / "masks")
    annotate(open_source(dota), segmenter, filters, tmp_path / "masks")
