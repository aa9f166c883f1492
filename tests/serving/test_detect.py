"""Objects that a detector finds become candidates."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from helpers.servers import detail, image_ids, make_settings, new_object, start

pytest.importorskip("detectron2")
from helpers.model_folders import write_tiny_detector

from insight.inference.build import load
from insight.serving import models
from insight.serving.outlines import rings_to_mask
from insight.serving.pixels import ArrayPixels
from insight.structures.rle import rle_to_bitmap


@pytest.fixture(scope="module")
def detector(tmp_path_factory, prompt_cfg, prompt_model):
    folder = tmp_path_factory.mktemp("detectors") / "finder"
    names = tuple(f"class{i}" for i in range(prompt_cfg.MODEL.ROI_HEADS.NUM_CLASSES))
    write_tiny_detector(folder, prompt_cfg, prompt_model, class_names=names, score_threshold=0.0)
    return folder


@pytest.fixture
def finding(tmp_path, model, detector):
    with start(make_settings(tmp_path, model, models=[str(model), str(detector)])) as client:
        yield client


def test_candidates_are_those_of_the_detector(finding, detector, tmp_path):
    first = image_ids(finding)[0]
    assert finding.get("/api/project").json()["detector"] == "finder"
    found = finding.post(f"/api/images/{first}/detect", json={}).json()
    predictor = load(detector, "cpu")
    predictor.set_image(tmp_path / "images" / "image0.png")
    expected = predictor.detect()
    assert len(found) == len(expected) > 0
    assert {one["state"] for one in found} == {"candidate"}
    assert {one["source"] for one in found} == {"detector"}
    assert [one["class"] for one in found] == expected.class_names
    assert torch.allclose(torch.tensor([one["box"] for one in found]), expected.boxes, atol=1e-3)
    for one, mask in zip(found, np.asarray(expected.masks)):
        assert np.array_equal(rle_to_bitmap(rings_to_mask(one["polygons"], (64, 96))), mask)


def test_another_detection_replaces_candidates_and_nothing_else(finding):
    first = image_ids(finding)[0]
    place = f"/api/images/{first}/objects"
    kept = finding.post(place, json=new_object(state="candidate", source="manual")).json()
    found = finding.post(f"/api/images/{first}/detect", json={}).json()
    chosen = {key: value for key, value in found[0].items() if key not in ("id", "revision")} | {"state": "accepted"}
    accepted = finding.put(
        f"{place}/{found[0]['id']}", json=chosen, headers={"If-Match": str(found[0]["revision"])}
    ).json()
    wanted = found[0]["class"]
    again = finding.post(f"/api/images/{first}/detect", json={"class": wanted}).json()
    assert {one["class"] for one in again} <= {wanted}
    stored = {one["id"] for one in finding.get(place).json()}
    assert stored == {kept["id"], accepted["id"], *(one["id"] for one in again)}
    assert finding.get("/api/project").json()["objects"] == 1  # the accepted one


def test_predict_without_prompts_finds_objects(finding):
    first = image_ids(finding)[0]
    answer = finding.post("/v1/predict", json={"image_id": first}).json()
    assert answer["model"] == "finder"
    assert answer["instances"]
    reply = finding.post("/v1/predict", json={"image_id": first, "boxes": [[1, 1, 9, 9]], "model": "finder"})
    assert "prompts" in detail(reply)
    assert finding.post(f"/api/images/{first}/detect", json={"model": "tiny"}).status_code == 422


def test_requests_of_different_routes_are_answered_together(finding, monkeypatch):
    shared, first = finding.app.state.services, image_ids(finding)[0]
    asked = ((f"/api/images/{first}/detect", {}), ("/v1/predict", {"image_id": first}))
    alone = [finding.post(place, json=body).json() for place, body in asked]
    held, free, detect = threading.Event(), threading.Event(), shared.models.detect

    def slow(*args):
        held.set()
        free.wait(30)
        return detect(*args)

    monkeypatch.setattr(shared.models, "detect", slow)
    with ThreadPoolExecutor() as pool:
        before = pool.submit(finding.post, f"/api/images/{image_ids(finding)[1]}/detect", json={})
        held.wait(30)
        waiting = [pool.submit(finding.post, place, json=body) for place, body in asked]
        ends = time.monotonic() + 30
        while shared.worker.waiting < 2 and time.monotonic() < ends:
            time.sleep(0.01)
        free.set()
        replies = [one.result() for one in (before, *waiting)]
    assert [reply.status_code for reply in replies] == [200] * 3
    together = [reply.json() for reply in replies[1:]]
    assert [one["box"] for one in together[0]] == [one["box"] for one in alone[0]]
    assert together[1]["instances"] == alone[1]["instances"]


def test_large_images_are_detected_in_tiles(finding, monkeypatch):
    pytest.importorskip("rasterio")
    monkeypatch.setattr(models, "_WHOLE", 64)
    monkeypatch.setattr(models, "_TILE", 128)
    monkeypatch.setattr(models, "_OVERLAP", 64)
    coarse = np.random.default_rng(3).integers(1, 255, (20, 25, 3), np.uint8)
    image = np.ascontiguousarray(coarse.repeat(8, 0).repeat(8, 1))
    found = finding.app.state.services.models.detect("finder", ArrayPixels(image, "large"))
    assert found
    for _, score, code, box in found:
        assert code["size"] == [160, 200]
        assert 0 <= score <= 1
        ys, xs = np.nonzero(rle_to_bitmap(code))
        assert [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] == box
