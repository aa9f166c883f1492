"""The results of `insight annotate`, opened and written back."""

import csv
import json

import numpy as np
import pytest
import torch
from helpers.servers import image_ids, make_settings, new_object, start
from PIL import Image
from pycocotools.coco import COCO

from insight.annotation.filters import Filters
from insight.annotation.review import Review, changes_by_hand
from insight.annotation.run import annotate, apply_review
from insight.annotation.segmentation import SOPSegSegmenter
from insight.annotation.sources import open_source
from insight.errors import InputError
from insight.hub import find
from insight.structures.rle import segmentation_to_rle


@pytest.fixture
def run(tmp_path, model):
    """A run on two images with three boxes: its source and its folder."""
    folder, rng = tmp_path / "images", np.random.default_rng(0)
    folder.mkdir()
    images = []
    for i in range(2):
        Image.fromarray(rng.integers(0, 255, (64, 96, 3), np.uint8)).save(folder / f"image{i}.png")
        images.append({"id": 11 + i, "file_name": f"image{i}.png", "width": 96, "height": 64})
    boxes = [(11, [10, 10, 30, 20]), (11, [40, 20, 20, 20]), (12, [20, 20, 30, 30])]
    annotations = [
        {"id": 101 + i, "image_id": image, "category_id": 5, "bbox": box, "area": 9, "iscrowd": 0}
        for i, (image, box) in enumerate(boxes)
    ]
    annotations[1]["oriented_box"] = [50, 30, 20, 10, 30]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 5, "name": "ship"}]}
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    source = open_source(tmp_path / "boxes.json", folder)
    loose = Filters(min_score=-9, min_in_box=0, min_area_ratio=0, max_area_ratio=1e9, min_largest_part=0)
    annotate(source, SOPSegSegmenter(find(model).weights, 64, torch.device("cpu")), loose, tmp_path / "masks")
    return source, tmp_path / "masks"


def _masks(path):
    coco = COCO(str(path))
    return {a["id"]: coco.annToMask(a) for a in coco.anns.values()}


def test_a_run_is_opened_and_written_back(tmp_path, model, run):
    source, folder = run
    before, old = _masks(folder / "instances.json"), json.loads((folder / "instances.json").read_text())
    settings = make_settings(tmp_path, model, results=folder)
    with start(settings) as client:
        first, second = image_ids(client)
        assert client.get("/api/project").json()["classes"] == ["ship"]
        opened = {one["id"]: one for one in client.get(f"/api/images/{first}/objects").json()}
        assert opened.keys() == {"annotate-101", "annotate-102"}
        assert opened["annotate-102"]["oriented_box"] is not None
        assert opened["annotate-101"]["box"] == [10, 10, 40, 30]
        added = client.post(f"/api/images/{second}/objects", json=new_object(**{"class": "plane"})).json()
        gone = opened["annotate-101"]
        place = f"/api/images/{first}/objects/annotate-101"
        assert client.delete(place, headers={"If-Match": str(gone["revision"])}).status_code == 204
    after, new = _masks(folder / "instances.json"), json.loads((folder / "instances.json").read_text())
    assert after.keys() == {102, 103, 104}
    for identifier in (102, 103):
        assert np.array_equal(after[identifier], before[identifier])
    assert after[104].sum() == 64
    assert new["info"]["masks"] == old["info"]["masks"]
    assert new["categories"] == [{"id": 5, "name": "ship"}, {"id": 6, "name": "plane"}]
    assert added["class"] == "plane"
    # `insight annotate` sees the decision, refuses to overwrite it, and applies it.
    assert changes_by_hand(folder / "review.csv") == 1
    rows = {row["id"]: row["decision"] for row in csv.DictReader((folder / "review.csv").open())}
    assert rows == {"101": "drop", "102": "keep", "103": "keep"}
    apply_review(source, Review(folder / "review.csv"), folder)
    assert _masks(folder / "instances.json").keys() == {102, 103}


def test_a_run_is_opened_once(tmp_path, model, run):
    settings = make_settings(tmp_path, model, results=run[1])
    for _ in range(3):
        with start(settings) as client:
            assert client.get("/api/project").json()["objects"] == 3
    assert len(_masks(run[1] / "instances.json")) == 3


def test_a_new_folder_gets_the_masks(tmp_path, model):
    settings = make_settings(tmp_path, model, results=tmp_path / "new")
    with start(settings) as client:
        client.post(f"/api/images/{image_ids(client)[0]}/objects", json=new_object())
        content = client.get("/api/export/coco").json()
        assert json.loads((tmp_path / "new" / "instances.json").read_text())["annotations"] == content["annotations"]
    (mask,) = _masks(tmp_path / "new" / "instances.json").values()
    assert mask.sum() == 64
    segmentation = content["annotations"][0]["segmentation"]
    assert segmentation_to_rle(segmentation, (64, 96))["counts"]


def test_a_new_folder_is_not_opened_as_a_run(tmp_path, model):
    settings = make_settings(tmp_path, model, results=tmp_path / "new")
    with start(settings) as client:
        client.post(f"/api/images/{image_ids(client)[0]}/objects", json=new_object())
    with start(settings) as client:
        assert client.get("/api/project").json()["objects"] == 1


def test_another_run_of_the_same_model_is_opened_too(tmp_path, model, run):
    content = json.loads((run[1] / "instances.json").read_text())
    one = {**content["annotations"][0], "id": 500, "bbox": [60, 40, 20, 10]}
    other = tmp_path / "other"
    other.mkdir()
    (other / "instances.json").write_text(json.dumps({**content, "annotations": [one, *content["annotations"][1:]]}))
    for results, count in ((run[1], 3), (other, 4), (run[1], 4)):
        with start(make_settings(tmp_path, model, results=results)) as client:
            assert client.get("/api/project").json()["objects"] == count
    assert 500 in _masks(other / "instances.json")


def test_ids_that_are_text_are_kept(tmp_path, model, run):
    folder = run[1]
    content = json.loads((folder / "instances.json").read_text())
    for annotation in content["annotations"]:
        annotation["id"] = f"-box{annotation['id']}"
    (folder / "instances.json").write_text(json.dumps(content))
    text = (folder / "review.csv").read_text()
    for number in (101, 102, 103):
        text = text.replace(f",{number},", f",'-box{number},")
    (folder / "review.csv").write_text(text)
    with start(make_settings(tmp_path, model, results=folder)) as client:
        client.post(f"/api/images/{image_ids(client)[0]}/objects", json=new_object())
    assert changes_by_hand(folder / "review.csv") == 0
    found = {annotation["id"] for annotation in json.loads((folder / "instances.json").read_text())["annotations"]}
    assert found == {"-box101", "-box102", "-box103", "1"}


def test_results_of_other_images_are_refused(tmp_path, model, run):
    content = json.loads((run[1] / "instances.json").read_text())
    for image in content["images"]:
        image["file_name"] = "elsewhere.png"
    (run[1] / "instances.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="none of its images"):
        start(make_settings(tmp_path, model, results=run[1]))
    (run[1] / "instances.json").write_text('{"images": [], "annotations": [{}]}')
    with pytest.raises(InputError, match="not a COCO file"):
        start(make_settings(tmp_path, model, results=run[1]))


def test_a_review_file_that_cannot_be_written_back_is_reported_at_the_start(tmp_path, model, run, monkeypatch):
    monkeypatch.setattr("insight.serving.app.Models", None)
    review = run[1] / "review.csv"
    review.write_text(review.read_text().replace(",keep", ",yes"))
    with pytest.raises(InputError, match="review.csv, line 2: decision: expected keep or drop, got 'yes'"):
        start(make_settings(tmp_path, model, results=run[1]))
