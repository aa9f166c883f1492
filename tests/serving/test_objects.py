"""The page's API: images, tiles, objects with revisions."""

import io

import numpy as np
import pytest
from helpers.servers import detail, image_ids, make_settings, new_object, start
from PIL import Image

from insight.inference.sopseg_predictor import SOPSegPredictor
from insight.serving.outlines import rings_to_mask
from insight.structures.rle import rle_to_bitmap


def test_project_and_images(client):
    assert client.get("/api/project").json() == {
        "images": 2, "done": 0, "objects": 0, "classes": [], "model": "tiny", "detector": None, "tile_size": 256,
    }  # fmt: skip
    first, second = client.get("/api/images").json()
    assert (first["name"], first["width"], first["height"], first["max_zoom"]) == ("image0.png", 96, 64, 0)
    assert client.get("/api/images?offset=1").json() == [second]
    assert client.put(f"/api/images/{first['id']}", json={"done": True}).json()["done"]
    assert client.get("/api/project").json()["done"] == 1
    assert client.get("/api/images/../../etc/passwd").status_code == 404
    assert client.get("/api/images/0000000000000000").status_code == 404


def test_the_mask_is_that_of_the_predictor(client, tmp_path, model):
    first = image_ids(client)[0]
    predictor = SOPSegPredictor.from_pretrained(model, "cpu")
    predictor.set_image(tmp_path / "images" / "image0.png")
    corners = [[20, 10], [60, 20], [55, 40], [15, 30]]
    cases = (
        ({"box": [10, 12, 50, 40]}, {"boxes": [[10, 12, 50, 40]]}),
        ({"oriented_box": corners}, {"oriented_boxes": [corners]}),
        ({"points": [[30, 30], [5, 5]], "labels": [1, 0]}, {"points": [[[30, 30], [5, 5]]], "labels": [[1, 0]]}),
        (
            {"box": [10, 12, 50, 40], "points": [[30, 30], [90, 60]], "labels": [1, 0]},
            {"boxes": [[10, 12, 50, 40]], "points": [[[30, 30], [90, 60]]], "labels": [[1, 0]]},
        ),
    )
    for asked, prompts in cases:
        for _ in range(2):  # the second time from the cache
            answer = client.post(f"/api/images/{first}/segment", json=asked).json()
            expected = predictor.predict(**prompts)
            mask = rle_to_bitmap(rings_to_mask(answer["polygons"], (64, 96)))
            assert np.array_equal(mask, np.asarray(expected.masks)[0]), asked
            assert answer["score"] == pytest.approx(min(1, max(0, expected.scores[0].item())), abs=1e-5)


def test_another_point_in_the_same_box_encodes_nothing(client):
    first, crops = image_ids(client)[0], client.app.state.services.models.segmenters[0].crops
    for number, points in enumerate(([], [[20, 20]], [[20, 20], [40, 30]])):
        asked = {"box": [10, 12, 50, 40], "points": points, "labels": [1] * len(points)}
        assert client.post(f"/api/images/{first}/segment", json=asked).status_code == 200
        assert (crops.misses, crops.hits) == (1, number)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "expected a box"),
        ({"box": [10, 10, 5, 20]}, "inverted"),
        ({"box": [200, 10, 300, 20]}, "outside"),
        ({"box": [1, 2, 3]}, "box"),
        ({"box": [1, 2, 3, "NaN"]}, "finite"),
        ({"points": [[1, 1]], "labels": []}, "labels"),
        ({"points": [[1, 1]], "labels": [7]}, "labels"),
        ({"box": [1, 2, 30, 40], "unknown": 1}, "unknown"),
        ({"box": [1, 2, 30, 40], "model": "other"}, "model"),
    ],
)
def test_bad_prompts_are_one_sentence(shared_client, asked, said):
    reply = shared_client.post(f"/api/images/{image_ids(shared_client)[0]}/segment", json=asked)
    assert reply.status_code in (404, 422)
    assert said in detail(reply)


def test_objects_are_changed_by_their_revision(client):
    first, second = image_ids(client)
    added = client.post(f"/api/images/{first}/objects", json=new_object())
    assert added.status_code == 201
    stored = added.json()
    assert new_object().items() <= stored.items()
    place = f"/api/images/{first}/objects/{stored['id']}"
    changed = client.put(place, json=new_object(**{"class": "plane"}), headers={"If-Match": str(stored["revision"])})
    assert changed.status_code == 200
    assert changed.json()["revision"] > stored["revision"]
    late = client.put(place, json=new_object(), headers={"If-Match": f'"{stored["revision"]}"'})
    assert late.status_code == 409
    assert late.json()["current"] == changed.json()
    assert client.put(place, json=new_object()).status_code == 428
    other = f"/api/images/{second}/objects/{stored['id']}"
    assert client.put(other, json=new_object(), headers={"If-Match": "2"}).status_code == 404
    assert client.get(f"/api/images/{first}/objects").json() == [changed.json()]
    assert client.get("/api/project").json()["classes"] == ["ship", "plane"]
    assert client.delete(place, headers={"If-Match": "1"}).status_code == 409
    assert client.delete(place, headers={"If-Match": changed.headers["etag"]}).status_code == 204
    assert client.get(f"/api/images/{first}/objects").json() == []


def test_a_request_that_is_sent_twice_adds_one_object(client):
    place = f"/api/images/{image_ids(client)[0]}/objects"
    one, two = (client.post(place, json=new_object(id="mine")) for _ in range(2))
    assert (one.status_code, two.status_code) == (201, 200)
    assert one.json() == two.json()
    assert client.post(place, json=new_object(id="mine", score=0.9)).status_code == 409
    assert len(client.get(place).json()) == 1


def test_removed_objects_come_back_with_another_revision(client):
    place = f"/api/images/{image_ids(client)[0]}/objects"
    one = client.post(place, json=new_object(id="mine")).json()
    client.delete(f"{place}/mine", headers={"If-Match": str(one["revision"])})
    two = client.post(place, json=new_object(id="mine")).json()
    assert client.put(f"{place}/mine", json=new_object(), headers={"If-Match": str(one["revision"])}).status_code == 409
    assert two["revision"] > one["revision"]


@pytest.mark.parametrize(
    "fields",
    [
        {"class": ""},
        {"class": "a\nb"},
        {"polygons": [[[0, 0], [1, 1]]]},
        {"polygons": [[[0, 0], [1, 1], [1e30, 5]]]},
        {"box": None, "polygons": []},
        {"state": "perhaps"},
        {"id": "../x"},
        {"score": 2},
    ],
)
def test_malformed_objects_are_refused(shared_client, fields):
    reply = shared_client.post(f"/api/images/{image_ids(shared_client)[0]}/objects", json=new_object(**fields))
    assert reply.status_code == 422
    assert detail(reply)


def test_classes_in_use_stay(client):
    client.post(f"/api/images/{image_ids(client)[0]}/objects", json=new_object())
    assert client.put("/api/classes", json={"classes": ["car", "ship"]}).status_code == 200
    assert client.get("/api/project").json()["classes"] == ["car", "ship"]
    reply = client.put("/api/classes", json={"classes": ["car"]})
    assert reply.status_code == 409
    assert "ship" in detail(reply)
    assert client.put("/api/classes", json={"classes": ["car", "car"]}).status_code == 422


def test_tiles_show_the_image(tmp_path, model):
    folder = tmp_path / "images"
    folder.mkdir()
    ramp = np.zeros((300, 700, 3), np.uint8)
    ramp[..., 0] = np.linspace(0, 255, 700)
    ramp[..., 1] = np.linspace(0, 255, 300)[:, None]
    Image.fromarray(ramp).save(folder / "ramp.png")
    with start(make_settings(tmp_path, model)) as client:
        image = client.get("/api/images").json()[0]
        assert image["max_zoom"] == 2
        mosaic = np.zeros((512, 768, 3), np.uint8)
        for x in range(3):
            for y in range(2):
                reply = client.get(f"/api/images/{image['id']}/tiles/2/{x}/{y}.jpg")
                tile = np.asarray(Image.open(io.BytesIO(reply.content)))
                mosaic[256 * y : 256 * y + 256, 256 * x : 256 * x + 256] = tile
        assert np.abs(mosaic[:300, :700].astype(int) - ramp)[..., :2].mean() < 3
        whole = np.asarray(Image.open(io.BytesIO(client.get(f"/api/images/{image['id']}/tiles/0/0/0.jpg").content)))
        reduced = np.asarray(Image.fromarray(ramp).resize((175, 75), Image.Resampling.BOX)).astype(int)
        assert np.abs(whole[:75, :175] - reduced)[2:-2, 2:-2, :2].mean() < 3
        again = client.get(
            f"/api/images/{image['id']}/tiles/0/0/0.jpg", headers={"If-None-Match": reply.headers["etag"]}
        )
        assert again.status_code == 200
        for place in ("3/0/0", "2/3/0", "2/0/2", "-1/0/0"):
            assert client.get(f"/api/images/{image['id']}/tiles/{place}.jpg").status_code in (404, 422)
