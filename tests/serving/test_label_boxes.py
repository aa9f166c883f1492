"""Boxes of label files as candidates of the page."""

import json

import cv2
import numpy as np
import pytest
from helpers.servers import image_ids, make_settings, start, write_images

from insight.annotation.sources import open_source
from insight.structures.oriented_boxes import oriented_corners

ROTATED = [[20, 10, 60, 20, 55, 40, 15, 30], [50, 45, 70, 40, 72, 48, 52, 53]]


@pytest.fixture
def dota(tmp_path):
    """A folder as DOTA's: two boxes and one without area in the first image, none in the second."""
    write_images(tmp_path / "images")
    labels = tmp_path / "labelTxt"
    labels.mkdir()
    rows = [*ROTATED, [3, 3] * 4]
    (labels / "image0.txt").write_text("".join(f"{' '.join(map(str, row))} ship 0\n" for row in rows))
    (labels / "image1.txt").write_text("")
    return tmp_path


def _objects(client):
    return client.get(f"/api/images/{image_ids(client)[0]}/objects").json()


def test_boxes_become_candidates_once(tmp_path, model, dota):
    settings = make_settings(tmp_path, model, boxes=open_source(dota))
    with start(settings) as client:
        first, _ = image_ids(client)
        found = _objects(client)
        assert client.get("/api/project").json()["classes"] == ["ship"]
        assert [(one["class"], one["state"], one["polygons"]) for one in found] == [("ship", "candidate", [])] * 2
        expected = oriented_corners(ROTATED).numpy()
        assert np.abs([one["oriented_box"] for one in found] - expected).max() < 1e-3
        assert client.get("/api/export/coco").json()["annotations"] == []
        place = f"/api/images/{first}/objects/{found[0]['id']}"
        assert client.delete(place, headers={"If-Match": str(found[0]["revision"])}).status_code == 204
        # An accepted candidate has its place in the file as id, as a mask of `insight annotate` has.
        content = {key: value for key, value in found[1].items() if key not in ("id", "revision")}
        content |= {"state": "accepted", "polygons": [[[50, 45], [70, 40], [72, 48], [52, 53]]]}
        place = f"/api/images/{first}/objects/{found[1]['id']}"
        assert client.put(place, json=content, headers={"If-Match": str(found[1]["revision"])}).status_code == 200
        (annotation,) = client.get("/api/export/coco").json()["annotations"]
        assert annotation["id"] == 2
    (dota / "labelTxt" / "image1.txt").write_text("1 1 9 1 9 9 1 9 plane 0\n")
    with start(make_settings(tmp_path, model, boxes=open_source(dota))) as client:
        assert len(_objects(client)) == 1
        assert len(client.get(f"/api/images/{image_ids(client)[1]}/objects").json()) == 1
        assert client.get("/api/project").json()["classes"] == ["ship", "plane"]


def test_horizontal_boxes_of_a_coco_file(tmp_path, model):
    write_images(tmp_path / "images")
    boxes = [[10, 12, 40, 28], [1, 2, 10, 10]]
    annotations = [
        {"id": i, "image_id": 1, "category_id": 1, "bbox": box, "area": 1, "iscrowd": 0} for i, box in enumerate(boxes)
    ]
    content = {
        "images": [{"id": 1, "file_name": "image0.png", "width": 96, "height": 64}],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "ship"}],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    source = open_source(tmp_path / "boxes.json", tmp_path / "images")
    with start(make_settings(tmp_path, model, boxes=source)) as client:
        found = [(one["box"], one["oriented_box"]) for one in _objects(client)]
    assert found == [([10, 12, 50, 40], None), ([1, 2, 11, 12], None)]


def test_boxes_that_have_masks_are_no_candidates(tmp_path, model, dota):
    """Results of a run are there first, or come later."""
    results = tmp_path / "masks"
    results.mkdir()
    rotated = oriented_corners(ROTATED[:1]).numpy().reshape(-1)
    x, y, width, height = cv2.boundingRect(rotated.reshape(4, 2))
    annotation = {
        "id": 7, "image_id": 1, "category_id": 1, "bbox": [x, y, width, height], "area": 9, "iscrowd": 0, "score": 0.5,
        "oriented_box": [round(float(value) + 0.004, 2) for value in np.roll(rotated, 2)],
        "segmentation": [[20, 10, 60, 20, 55, 40, 15, 30]],
    }  # fmt: skip
    content = {
        "info": {"masks": {"weights": "a"}},
        "images": [{"id": 1, "file_name": "image0.png", "width": 96, "height": 64}],
        "annotations": [annotation],
        "categories": [{"id": 1, "name": "ship"}],
    }

    def states(**settings):
        with start(make_settings(tmp_path, model, boxes=open_source(dota), **settings)) as client:
            return sorted((one["id"], one["state"]) for one in _objects(client))

    after = [("annotate-2", "candidate"), ("annotate-7", "accepted")]
    assert states() == [("annotate-1", "candidate"), ("annotate-2", "candidate")]
    (results / "instances.json").write_text(json.dumps(content))
    assert states(results=results) == after
    (results / "instances.json").write_text(json.dumps(content))
    assert states(results=results, store=tmp_path / "other.sqlite") == after
