"""POST /v1/predict: images in every form, answers in every form, and limits."""

import base64
import io
import json
import struct
import zlib

import numpy as np
import pytest
from helpers.servers import detail, image_ids, make_settings, start
from PIL import Image

from insight.inference.sopseg_predictor import SOPSegPredictor
from insight.serving import schemas
from insight.serving.outlines import rings_to_mask
from insight.serving.routes import label_studio
from insight.structures.rle import rle_to_bitmap

BOXES = [[10, 12, 50, 40], [30, 5, 90, 60]]


@pytest.fixture(scope="module")
def limited(tmp_path_factory, model):
    limits = {"upload_bytes": 100_000, "pixels": 10_000, "prompts": 5, "queue": 2}
    with start(make_settings(tmp_path_factory.mktemp("limited"), model, limits=limits)) as client:
        yield client


@pytest.fixture(scope="module")
def picture(shared_client):
    path = shared_client.app.state.services.library.images[0].path
    return path, path.read_bytes()


def test_every_way_to_give_an_image_gives_the_same(shared_client, picture, model):
    path, data = picture
    text = base64.b64encode(data).decode()
    asked = {"boxes": BOXES, "format": "rle"}
    replies = [
        shared_client.post("/v1/predict", json={"image": text, **asked}),
        shared_client.post("/v1/predict", json={"image": f"data:image/png;base64,{text}", **asked}),
        shared_client.post("/v1/predict", json={"image_id": image_ids(shared_client)[0], **asked}),
        shared_client.post("/v1/predict", files={"image": ("a.png", data)}, data={"request": json.dumps(asked)}),
    ]
    predictor = SOPSegPredictor.from_pretrained(model, "cpu")
    expected = predictor.predict(boxes=BOXES, image=path)
    for reply in replies:
        assert reply.status_code == 200, reply.text
        answer = reply.json()
        assert (answer["width"], answer["height"], answer["model"]) == (96, 64, "tiny")
        found = np.stack([rle_to_bitmap(one["rle"]) for one in answer["instances"]])
        assert np.array_equal(found, np.asarray(expected.masks))
        assert [one["score"] for one in answer["instances"]] == pytest.approx(expected.scores.tolist(), abs=2e-5)


def test_every_form_of_answer_has_the_same_masks(shared_client):
    asked = {
        "image_id": image_ids(shared_client)[0],
        "boxes": BOXES[:1],
        "oriented_boxes": [[50, 30, 40, 20, 15]],
        "classes": ["ship", "plane"],
    }
    coded = shared_client.post("/v1/predict", json={**asked, "format": "rle"}).json()["instances"]
    masks = [rle_to_bitmap(one["rle"]) for one in coded]
    assert [one["class"] for one in coded] == ["ship", "plane"]
    polygons = shared_client.post("/v1/predict", json=asked).json()["instances"]
    for one, mask in zip(polygons, masks, strict=True):
        assert np.array_equal(rle_to_bitmap(rings_to_mask(one["polygons"], (64, 96))), mask)
    png = shared_client.post("/v1/predict", json={**asked, "format": "png"})
    labels = np.asarray(Image.open(io.BytesIO(png.content)))
    assert np.array_equal(labels > 0, masks[0] | masks[1])
    import shapely

    features = shared_client.post("/v1/predict", json={**asked, "format": "geojson"}).json()["features"]
    areas = [shapely.from_geojson(json.dumps(feature["geometry"])).area for feature in features]
    assert areas == [mask.sum() for mask in masks]
    assert [feature["properties"]["class_name"] for feature in features] == ["ship", "plane"]


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({}, 422, "one image"),
        ({"image": "", "boxes": BOXES}, 422, "empty"),
        ({"image": "@@@", "boxes": BOXES}, 422, "base64"),
        ({"image": base64.b64encode(b"no image").decode(), "boxes": BOXES}, 422, "unknown format"),
        ({"image": "data:text/html,x", "boxes": BOXES}, 422, "base64"),
        ({"image_id": "../../etc/passwd", "boxes": BOXES}, 404, "no such image"),
        ({"image_url": "http://127.0.0.1/x.png", "boxes": BOXES}, 422, "--allow-url"),
        ({"image_url": "file:///etc/passwd", "boxes": BOXES}, 422, "--allow-url"),
        ({"image_id": "FIRST"}, 422, "finds objects"),
        ({"image_id": "FIRST", "boxes": [[1, 2, 3, "x"]]}, 422, "boxes"),
        ({"image_id": "FIRST", "boxes": [[5, 5, 1, 1]]}, 422, "inverted"),
        ({"image_id": "FIRST", "boxes": [[0.1, 0.2, 0.5, 1]]}, 422, "boxes: expected pixels, got coordinates from 0"),
        ({"image_id": "FIRST", "oriented_boxes": [[0.5, 0.5, 0.2, 0.1, 30]]}, 422, "oriented_boxes: expected pixels"),
        (
            {"image_id": "FIRST", "boxes": [[0, 0, 1, 1]], "points": [[[0.5, 0.5]]], "labels": [[1]]},
            422,
            "boxes and points: expected pixels",
        ),
        ({"image_id": "FIRST", "boxes": [[0, 0, 9, 9]] * 6}, 413, "at most 5"),
        ({"image_id": "FIRST", "points": [[[1, 1]] * 6], "labels": [[1] * 6]}, 413, "at most 5"),
        ({"image_id": "FIRST", "boxes": BOXES, "points": [[[1, 1]]], "labels": [[1]]}, 422, "one for each box"),
        ({"image_id": "FIRST", "boxes": BOXES, "classes": ["a"]}, 422, "classes"),
        ({"image_id": "FIRST", "boxes": BOXES, "format": "xml"}, 422, "format"),
        ({"image_id": "FIRST", "boxes": BOXES, "model": "../tiny"}, 404, "unknown"),
    ],
)
def test_what_cannot_be_answered_is_one_sentence(limited, asked, status, said):
    if asked.get("image_id") == "FIRST":
        asked = {**asked, "image_id": image_ids(limited)[0]}
    reply = limited.post("/v1/predict", json=asked)
    assert reply.status_code == status
    assert said in detail(reply)


def test_large_bodies_are_refused(limited):
    body = b'{"image": "' + b"A" * 200_000 + b'"}'
    kind = {"content-type": "application/json"}
    assert limited.post("/v1/predict", content=body, headers=kind).status_code == 413
    assert limited.post("/v1/predict", content=iter([body]), headers=kind).status_code == 413  # of unknown length
    reply = limited.post("/v1/predict", files={"image": ("a.png", b"x" * 200_000)})
    assert reply.status_code == 413
    assert "100,000" in detail(reply)
    for content, status in ((b"{", 422), (b"[" * 50_000, 422), (b"null", 422), (b"9" * 5000, 422)):
        reply = limited.post("/v1/predict", content=content, headers=kind)
        assert (reply.status_code, bool(detail(reply))) == (status, True), content[:10]
    assert limited.post("/v1/predict", content=b"x", headers={"content-type": "text/plain"}).status_code == 415


def _png_of(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(bytes(100_000), 9)  # too few: the header alone must be enough
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_bombs_are_refused_by_their_header(limited):
    for size in ((200, 100), (50_000, 50_000), (2**31 - 1, 1)):
        reply = limited.post("/v1/predict", files={"image": ("a.png", _png_of(*size))}, data={"request": _ASKED})
        assert reply.status_code == 413, reply.text
        assert "pixels" in detail(reply)


_ASKED = '{"boxes": [[1, 1, 9, 9]]}'


def test_damaged_images_are_refused(limited, picture):
    data = picture[1]
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    vrt = b"<VRTDataset rasterXSize='9' rasterYSize='9'><VRTRasterBand/></VRTDataset>"
    sixteen = io.BytesIO()
    Image.fromarray(np.zeros((9, 9), np.uint16)).save(sixteen, "PNG")
    for bad in (data[:200], data[:-30], data[:40] + bytes(50) + data[90:], svg, vrt, sixteen.getvalue()):
        reply = limited.post("/v1/predict", files={"image": ("a.png", bad)}, data={"request": _ASKED})
        assert reply.status_code == 422, reply.text
        assert detail(reply)


def test_openapi_names_the_routes(shared_client):
    content = shared_client.get("/openapi.json").json()
    body = content["paths"]["/v1/predict"]["post"]["requestBody"]["content"]
    assert body["application/json"]["schema"]["examples"]
    assert "multipart/form-data" in body
    assert {"/health", "/predict", "/api/images/{image_id}/segment", "/api/export/{kind}"} <= content["paths"].keys()
    assert shared_client.get("/docs").status_code == 404  # whose scripts come from elsewhere


def test_every_body_has_examples_that_are_valid(shared_client):
    content = shared_client.get("/openapi.json").json()
    models = {**vars(schemas), **vars(label_studio)}
    names = set()
    for methods in content["paths"].values():
        for operation in methods.values():
            schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            if name := schema.get("$ref", "").rpartition("/")[2]:
                names.add(name)
    assert {"NewObject", "SegmentRequest", "DetectRequest", "Classes", "Done", "LabelStudioRequest"} <= names
    for name in (*names, "PredictRequest", "StoredObject"):
        given = models[name].model_json_schema()["examples"]
        assert given, name
        for example in given:
            models[name].model_validate(example)


def test_metrics_count(shared_client):
    shared_client.get("/health")
    text = shared_client.get("/metrics").text
    assert 'insight_requests_total{method="GET",route="/health",status="200"}' in text
    assert "insight_queue_requests 0.0" in text
    assert "insight_crop_cache_bytes" in text
    shared_client.get("/api/images/0123456789abcdef")
    assert 'route="/api/images/{image_id}",status="404"' in shared_client.get("/metrics").text


def test_a_pixel_beside_others_is_no_share_of_the_image(shared_client):
    asked = {"image_id": image_ids(shared_client)[0], "boxes": [[0, 0, 1, 1], *BOXES]}
    asked["oriented_boxes"] = [[0.5, 0.5, 0.5, 0.5, 0]]
    assert len(shared_client.post("/v1/predict", json=asked).json()["instances"]) == 4
