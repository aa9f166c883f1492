import json

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from insight.inference.coco_results import CocoResults
from insight.inference.prediction import Prediction
from insight.structures.rle import RLEMasks

IMAGES = {"a.png": 1, "b.png": 1, **{f"{seed}.png": seed for seed in range(3)}}


def instances(count=2, seed=0, oriented=None):
    bitmaps = np.random.default_rng(seed).integers(0, 2, (count, 8, 10), dtype=np.uint8)
    codes = [coco_mask.encode(np.asfortranarray(b)) for b in bitmaps]
    found = Prediction(
        (8, 10),
        boxes=torch.tensor([[1.0, 2, 5, 7]]).repeat(count, 1),
        class_ids=torch.arange(count) % 2,
        scores=torch.linspace(0.9, 0.5, count),
        masks=RLEMasks(codes, (8, 10)),
        oriented_boxes=oriented,
        categories=["ship", "tank"],
    )
    return found, bitmaps


def test_the_file_is_coco(tmp_path):
    path = tmp_path / "new" / "predictions.json"
    results = CocoResults(path, ["ship", "tank"], {}, IMAGES)
    found, bitmaps = instances()
    results.add("b.png", found)
    results.add("a.png", instances(0)[0])
    assert not path.exists()
    results.finish()
    assert [p.name for p in path.parent.iterdir()] == ["predictions.json"]
    coco = COCO(str(path))
    assert {c["id"]: c["name"] for c in coco.loadCats(coco.getCatIds())} == {1: "ship", 2: "tank"}
    names = {i["file_name"]: i for i in coco.dataset["images"]}
    assert names["b.png"]["height"] == 8 and names["b.png"]["width"] == 10
    assert coco.getAnnIds(imgIds=[names["a.png"]["id"]]) == []
    annotations = coco.loadAnns(coco.getAnnIds(imgIds=[names["b.png"]["id"]]))
    assert [a["category_id"] for a in annotations] == [1, 2]
    assert annotations[0]["bbox"] == [1, 2, 4, 5] and annotations[0]["score"] == 0.9
    for annotation, bitmap in zip(annotations, bitmaps):
        np.testing.assert_array_equal(coco.annToMask(annotation), bitmap)
        assert annotation["area"] == bitmap.sum()


def test_oriented_boxes_are_kept_where_there_are_some(tmp_path):
    corners = torch.tensor([[np.nan] * 8, [1, 2, 5.123, 2, 5, 7, 1, 7], [0, 0, 1, 0, 1, 1, 0, 1]]).reshape(3, 4, 2)
    results = CocoResults(tmp_path / "predictions.json", ["ship", "tank"], {}, IMAGES)
    results.add("a.png", instances(3, oriented=corners)[0])
    results.finish()
    annotations = json.loads(results.path.read_text())["annotations"]
    assert [a.get("oriented_box") for a in annotations] == [
        None, [1, 2, 5.12, 2, 5, 7, 1, 7], [0, 0, 1, 0, 1, 1, 0, 1],
    ]  # fmt: skip


def test_a_killed_run_goes_on_and_ends_in_the_same_file(tmp_path):
    whole = CocoResults(tmp_path / "whole.json", ["a", "b"], {"weights": 1}, IMAGES)
    for seed in range(3):
        whole.add(f"{seed}.png", instances(seed=seed)[0])
    whole.finish()
    path = tmp_path / "killed.json"
    first = CocoResults(path, ["a", "b"], {"weights": 1}, IMAGES)
    for seed in (2, 0):
        first.add(f"{seed}.png", instances(seed=seed)[0])
    part = tmp_path / "killed.json.part"
    part.write_text(part.read_text()[:-9])  # killed in the middle of a line
    second = CocoResults(path, ["a", "b"], {"weights": 1}, IMAGES)
    assert "2.png" in second and "0.png" not in second
    for seed in range(2):
        second.add(f"{seed}.png", instances(seed=seed)[0])
    second.finish()
    assert path.read_text() == (tmp_path / "whole.json").read_text()


def test_results_of_other_settings_are_not_used(tmp_path):
    CocoResults(tmp_path / "a.json", ["a", "b"], {"weights": 1}, IMAGES).add("0.png", instances()[0])
    assert "0.png" not in CocoResults(tmp_path / "a.json", ["a", "b"], {"weights": 2}, IMAGES)


def test_results_of_another_image_of_that_name_are_not_used(tmp_path):
    first = CocoResults(tmp_path / "a.json", ["a", "b"], {}, {"0.png": ["old", 5], "1.png": 7, "2.png": 9})
    for seed in range(3):
        first.add(f"{seed}.png", instances(seed + 1)[0])
    second = CocoResults(tmp_path / "a.json", ["a", "b"], {}, {"0.png": ["new", 5], "1.png": 7})
    assert [f"{seed}.png" in second for seed in range(3)] == [False, True, False]
    second.add("0.png", instances(0)[0])
    second.finish()
    content = json.loads(second.path.read_text())
    assert [i["file_name"] for i in content["images"]] == ["0.png", "1.png"]
    assert [a["image_id"] for a in content["annotations"]] == [2, 2]


@pytest.mark.parametrize("masks", [True, False])
def test_without_masks_the_area_is_the_boxs(tmp_path, masks):
    found, bitmaps = instances()
    if not masks:
        found.masks = None
    results = CocoResults(tmp_path / "a.json", ["a", "b"], {}, IMAGES)
    results.add("0.png", found)
    results.finish()
    annotation = COCO(str(tmp_path / "a.json")).dataset["annotations"][0]
    assert annotation["area"] == (bitmaps[0].sum() if masks else 20)
    assert ("segmentation" in annotation) == masks
