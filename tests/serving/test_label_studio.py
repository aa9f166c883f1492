"""Label Studio's protocol, by requests of the shapes that it sends."""

import base64
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest
from helpers.servers import detail, make_settings, start, write_images

from insight.data.formats.label_studio_brush import decode_brush
from insight.errors import InputError
from insight.inference.sopseg_predictor import SOPSegPredictor
from insight.serving.label_studio import read_config, rectangle_corners, to_objects

BRUSH = """<View>
  <Image name="image" value="$image" zoom="true"/>
  <RectangleLabels name="rect" toName="image" canRotate="true" smart="true"><Label value="ship"/></RectangleLabels>
  <KeyPointLabels name="point" toName="image" smart="true"><Label value="ship"/></KeyPointLabels>
  <BrushLabels name="brush" toName="image"><Label value="car"/><Label value="ship"/></BrushLabels>
</View>"""
POLYGON = BRUSH.replace("BrushLabels", "PolygonLabels")
RECTANGLE = {
    "original_width": 96, "original_height": 64, "image_rotation": 0, "from_name": "rect", "to_name": "image",
    "type": "rectanglelabels", "origin": "manual", "id": "abc",
    "value": {"x": 30, "y": 20, "width": 40, "height": 25, "rotation": 20, "rectanglelabels": ["ship"]},
}  # fmt: skip
POINT = {
    "original_width": 96, "original_height": 64, "from_name": "point", "to_name": "image", "type": "keypointlabels",
    "is_positive": True, "value": {"x": 50, "y": 40, "width": 0.3, "keypointlabels": ["ship"]},
}  # fmt: skip


def _request(image, config=BRUSH, context=None, **task):
    return {
        "tasks": [{"id": 7, "data": {"image": image}, "annotations": [], "predictions": [], **task}],
        "model_version": None,
        "project": "3.1700000000",
        "label_config": config,
        "params": {"login": None, "password": None, "context": context},
    }


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Label Studio's data folder."""
    folder = tmp_path_factory.mktemp("label_studio")
    write_images(folder / "media" / "upload" / "3")
    write_images(folder / "scans")
    (folder.parent / "secret.png").write_bytes((folder / "scans" / "image0.png").read_bytes())
    return folder


@pytest.fixture(scope="module")
def studio(tmp_path_factory, model, root):
    with start(
        make_settings(tmp_path_factory.mktemp("studio"), model, sources=False, label_studio_root=root)
    ) as client:
        yield client


@pytest.fixture(scope="module")
def predictor(model, root):
    predictor = SOPSegPredictor.from_pretrained(model, "cpu")
    predictor.set_image(root / "scans" / "image0.png")
    return predictor


def _mask(result):
    return decode_brush(result["value"]["rle"], (64, 96))


def test_setup_health_and_webhook(studio):
    setup = {"project": "3.1700000000", "schema": BRUSH, "hostname": "http://localhost:8080", "access_token": "abc"}
    version = studio.post("/setup", json=setup).json()["model_version"]
    assert version.startswith("insight-")
    assert studio.get("/health").json()["status"] == "UP"
    event = {"action": "ANNOTATION_CREATED", "project": {"id": 3}, "annotation": {"result": []}}
    assert studio.post("/webhook", json=event).status_code == 201


def test_corners_of_a_rotated_rectangle():
    value = {"x": 30, "y": 20, "width": 40, "height": 25, "rotation": 20}
    x, y, width, height = 0.3 * 96, 0.2 * 64, 0.4 * 96, 0.25 * 64
    turn = cv2.getRotationMatrix2D((x, y), -20, 1)  # OpenCV counts counter-clockwise on the screen
    upright = np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]])
    expected = cv2.transform(upright[None], turn)[0]
    assert np.allclose(rectangle_corners(value, (64, 96)), expected)


@pytest.mark.parametrize("image", ["/data/upload/3/image0.png", "/data/local-files/?d=scans/image0.png"])
def test_a_rotated_rectangle_becomes_the_mask_of_the_rotated_box(studio, predictor, image):
    answer = studio.post("/predict", json=_request(image, context={"result": [RECTANGLE]})).json()
    (result,) = answer["results"][0]["result"]
    about = {key: result[key] for key in ("from_name", "to_name", "type", "original_width", "original_height")}
    assert about == {
        "from_name": "brush", "to_name": "image", "type": "brushlabels", "original_width": 96, "original_height": 64
    }  # fmt: skip
    assert result["value"]["brushlabels"] == ["ship"]
    expected = predictor.predict(oriented_boxes=[rectangle_corners(RECTANGLE["value"], (64, 96))])
    assert np.array_equal(_mask(result), np.asarray(expected.masks)[0])
    # What a backend that ignores the rotation would answer is something else.
    flat = predictor.predict(boxes=[[0.3 * 96, 0.2 * 64, 0.7 * 96, 0.45 * 64]])
    assert not np.array_equal(_mask(result), np.asarray(flat.masks)[0])


def test_points_refine_a_rectangle_and_stand_alone(studio, predictor):
    upright = {**RECTANGLE, "value": {**RECTANGLE["value"], "rotation": 0}}
    beside = {**POINT, "is_positive": False, "value": {**POINT["value"], "x": 35, "y": 22}}
    image = "/data/upload/3/image0.png"
    xy = [[48, 25.6], [0.35 * 96, 0.22 * 64]]
    cases = (
        ([upright, POINT, beside], {"boxes": [[28.8, 12.8, 67.2, 28.8]], "points": [xy], "labels": [[1, 0]]}),
        ([POINT], {"points": [xy[:1]], "labels": [[1]]}),
    )
    for regions, prompts in cases:
        answer = studio.post("/predict", json=_request(image, context={"result": regions})).json()
        expected = np.asarray(predictor.predict(**prompts).masks)[0]
        assert np.array_equal(_mask(answer["results"][0]["result"][0]), expected)


def test_polygons_where_the_project_has_polygons(studio, predictor):
    image = "/data/upload/3/image0.png"
    answer = studio.post("/predict", json=_request(image, POLYGON, {"result": [RECTANGLE]})).json()
    mask = np.asarray(predictor.predict(oriented_boxes=[rectangle_corners(RECTANGLE["value"], (64, 96))]).masks)[0]
    canvas = np.zeros((64, 96), np.uint8)
    for result in answer["results"][0]["result"]:
        assert result["type"] == "polygonlabels"
        points = np.array(result["value"]["points"]) * (96, 64) / 100
        cv2.fillPoly(canvas, [np.round(points).astype(np.int32)], 1)
    assert (canvas.astype(bool) & mask).sum() / (canvas.astype(bool) | mask).sum() > 0.6  # tiny masks of noise


def test_rectangles_of_whole_tasks_are_answered_before_anyone_draws(studio):
    image = "/data/upload/3/image0.png"
    second = {**RECTANGLE, "value": {**RECTANGLE["value"], "x": 50, "rectanglelabels": ["tree"]}}
    request = _request(image, annotations=[{"result": [RECTANGLE, second]}])
    request["tasks"].append({"id": 8, "data": {"image": image}, "predictions": [{"result": [RECTANGLE]}]})
    request["tasks"].append({"id": 9, "data": {"image": image}})
    request["tasks"].append({"id": 10, "data": {"image": "/data/upload/3/gone.png"}})
    results = studio.post("/predict", json=request).json()["results"]
    assert [len(one["result"]) for one in results] == [2, 1, 0, 0]
    assert [one["value"]["brushlabels"] for one in results[0]["result"]] == [["ship"], ["car"]]  # tree is no label
    assert 0 <= results[0]["score"] <= 1


def test_an_image_in_the_task_itself(studio, root):
    data = base64.b64encode((root / "scans" / "image0.png").read_bytes()).decode()
    answer = studio.post("/predict", json=_request(f"data:image/png;base64,{data}", context={"result": [POINT]}))
    assert len(answer.json()["results"][0]["result"]) == 1


@pytest.mark.parametrize(
    "image",
    [
        "/data/local-files/?d=../secret.png",
        "/data/local-files/?d=/../secret.png",
        "/data/local-files/?d=scans/../../secret.png",
        "/data/upload/../../secret.png",
        "/data/upload/%2e%2e/%2e%2e/%2e%2e/secret.png",
        "/data/local-files/?d=",
        "/data/local-files/?d=scans",
        "/data/local-files/?d=scans%00.png",
        "/etc/passwd",
        "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data",
        "s3://bucket/key.png",
        "",
    ],
)
def test_nothing_outside_the_folder_is_read(studio, image):
    reply = studio.post("/predict", json=_request(image, context={"result": [POINT]}))
    assert reply.status_code == 422
    assert detail(reply).startswith(("image", "tasks"))


def test_links_out_of_the_folder_are_not_followed(studio, root):
    (root / "scans" / "link.png").symlink_to(root.parent / "secret.png")
    reply = studio.post("/predict", json=_request("/data/local-files/?d=scans/link.png", context={"result": [POINT]}))
    assert reply.status_code == 422


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("", "XML"),
        ("<View/>", "BrushLabels"),
        (BRUSH.replace("$image", ""), "BrushLabels"),
        ('<!DOCTYPE a [<!ENTITY b "bbbbbbbb"><!ENTITY c "&b;&b;">]><View>&c;</View>', "document types"),
    ],
)
def test_configurations_that_cannot_be_used(config, said):
    with pytest.raises(InputError, match=said):
        read_config(config)


@pytest.mark.parametrize("region", [{"type": "rectanglelabels"}, {"type": "keypointlabels", "value": {"x": "a"}}])
def test_malformed_regions(region):
    with pytest.raises(InputError, match="not a region"):
        to_objects([region], (64, 96))


@pytest.fixture
def storage(root):
    """A server of images, which notes what it was asked."""
    asked = []
    data = (root / "scans" / "image0.png").read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers.get("Authorization")))
            if self.path.startswith("/images/away"):
                self.send_response(302)
                self.send_header("Location", "/private/image.png")
                self.end_headers()
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(data if "large" not in self.path else bytes(300_000))

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def test_only_allowed_urls_are_fetched(tmp_path, model, storage):
    address, asked = storage
    settings = make_settings(
        tmp_path, model, sources=False, allowed_urls=[f"{address}/images"], limits={"upload_bytes": 200_000}
    )
    context = {"result": [POINT]}
    with start(settings) as client:
        url = f"{address}/images/a.png?X-Amz-Signature=abc"
        assert client.post("/predict", json=_request(url, context=context)).status_code == 200
        assert asked == [("/images/a.png?X-Amz-Signature=abc", None)]
        for url in (
            f"{address}/private/a.png",
            f"{address}/imagesother/a.png",
            f"{address}/images/../private/a.png",
            f"{address}/images/%2e%2e/private/a.png",
            f"{address}/images/%252e%252e/private/a.png",
            f"http://user@{address[7:]}/images/a.png",
            address.replace("127.0.0.1", "127.0.0.1.evil.example") + "/images/a.png",
            address.replace("http:", "ftp:") + "/images/a.png",
            "http://127.0.0.1:1/images/a.png",
        ):
            reply = client.post("/predict", json=_request(url, context=context))
            assert reply.status_code == 422, url
        assert len(asked) == 1
        reply = client.post("/predict", json=_request(f"{address}/images/away.png", context=context))
        assert "leads to another" in detail(reply)
        assert [path for path, _ in asked] == ["/images/a.png?X-Amz-Signature=abc", "/images/away.png"]
        assert client.post("/predict", json=_request(f"{address}/images/large", context=context)).status_code == 413


def test_the_token_of_label_studio_goes_to_label_studio_alone(tmp_path, model, storage):
    address, asked = storage
    settings = make_settings(tmp_path, model, sources=False, allowed_urls=[address])
    with start(settings) as client:
        setup = {"project": "3.1700000000", "schema": BRUSH, "hostname": address, "access_token": "secret"}
        client.post("/setup", json=setup)
        client.post("/predict", json=_request("/data/upload/3/image0.png", context={"result": [POINT]}))
        client.post("/setup", json={**setup, "hostname": "http://other.example"})
        client.post("/predict", json=_request(f"{address}/data/upload/3/image0.png", context={"result": [POINT]}))
    assert asked == [("/data/upload/3/image0.png", "Token secret"), ("/data/upload/3/image0.png", None)]
