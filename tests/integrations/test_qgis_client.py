"""What the QGIS plugin sends and takes, without QGIS: against the real application, and against servers that fail."""

import contextlib
import io
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("geopandas")
import shapely
from helpers.bright import components
from helpers.model_folders import write_tiny_sopseg
from helpers.rasters import ROTATED, write
from helpers.servers import make_settings, start
from insight_masks import client, prediction
from PIL import Image

from insight.geo.predict import predict_raster
from insight.inference.sopseg_predictor import SOPSegPredictor


class Picture:
    """A raster in memory, as the plugin's `Raster`."""

    geotransform = ROTATED.to_gdal()

    def __init__(self, image):
        self.image, self.size, self.windows = image, image.shape[:2], []

    def picture(self, window):
        self.windows.append(window)
        x0, y0, x1, y1 = window
        file = io.BytesIO()
        Image.fromarray(self.image[y0:y1, x0:x1]).save(file, "PNG")
        return file.getvalue(), 1.0


class ApplicationClient(client.Client):
    """Sends to an application in this process."""

    def __init__(self, application):
        super().__init__("http://localhost:8000")
        self._application = application

    def _send(self, request):
        reply = self._application.post("/v1/predict", content=request.data, headers=dict(request.headers))
        assert reply.status_code == 200, reply.text
        return reply.json()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        yield write_tiny_sopseg(tmp_path_factory.mktemp("models") / "tiny", patch)[0].path


def polygons(found):
    return [shapely.MultiPolygon([(part[0], part[1:]) for part in of_map]) for of_map, *_ in found]


@pytest.mark.parametrize("oriented", [False, True])
def test_masks_are_those_of_the_whole_scene(tmp_path, model, oriented):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1300, 1400, 3), np.uint8)
    path = write(tmp_path / "scene.tif", image)
    centres, sizes = rng.uniform(40, 1260, (30, 2)), rng.uniform(8, 40, (30, 2))
    angles = np.radians(rng.uniform(0, 180, 30) if oriented else np.zeros(30))
    rotations = np.stack([np.cos(angles), np.sin(angles), -np.sin(angles), np.cos(angles)], 1).reshape(-1, 2, 2)
    corners = (np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * sizes[:, None] / 2) @ rotations + centres[:, None]
    raster, progress = Picture(image), []
    with start(make_settings(tmp_path, model, sources=False)) as application:
        found = prediction.masks_of_boxes(
            raster,
            ApplicationClient(application),
            [[tuple(point) for point in box] for box in corners.tolist()],
            oriented=oriented,
            progress=lambda *counts: progress.append(counts),
        )
    prompts = (
        {"oriented_boxes": corners} if oriented else {"boxes": np.concatenate([corners.min(1), corners.max(1)], 1)}
    )
    expected = predict_raster(path, SOPSegPredictor.from_pretrained(model, "cpu"), **prompts)
    np.testing.assert_allclose([score for _, score in found], expected.score, atol=2e-5)
    for ours, theirs in zip(polygons(found), expected.geometry):
        theirs = theirs or shapely.Polygon()
        assert ours.symmetric_difference(theirs).area <= 2 * abs(ROTATED.determinant)  # single pixels, by rounding
    assert len(raster.windows) > 1 and progress[-1] == (30, 30)


def test_objects_are_found_once_and_whole_in_any_tiling(monkeypatch):
    image = np.zeros((900, 1000, 3), np.uint8)
    rng = np.random.default_rng(1)
    for x, y, w, h in np.concatenate([rng.integers(0, 850, (60, 2)), rng.integers(4, 60, (60, 2))], 1):
        image[y : y + h, x : x + w] = 200
    monkeypatch.setattr(prediction, "_TILE", 512)
    monkeypatch.setattr(prediction, "_OVERLAP", 256)

    class Bright(client.Client):
        def predict(self, data, request):
            assert request == {"format": "polygons", "simplify": 0.0}
            mask = np.asarray(Image.open(io.BytesIO(data)))[..., 0] > 100
            found = components(mask)
            return [
                {"box": box, "class": "tank", "score": 0.5, "polygons": _outline(part, box[:2])} for box, part in found
            ]

    found = list(prediction.objects_of(Picture(image), Bright("http://localhost:1"), (0, 0, 1000, 900)))
    expected = [box for box, _ in components(image[..., 0] > 100)]
    inside = [tuple(map(round, geometry_bounds(of_map))) for of_map, *_ in found]
    assert sorted(inside) == sorted(expected)
    assert {(name, score) for _, name, score in found} == {("tank", 0.5)}


def _outline(mask, origin):
    from insight.serving.outlines import mask_outline
    from insight.structures.rle import encode_crop

    rings = mask_outline(encode_crop(mask, (0, 0), mask.shape))
    return [[[x + origin[0], y + origin[1]] for x, y in ring] for ring in rings]


def geometry_bounds(of_map):
    from insight_masks.geometry import bounds, to_pixels

    return bounds([point for part in of_map for point in to_pixels(ROTATED.to_gdal(), part[0])])


@contextlib.contextmanager
def answering(*answers):
    """A server that gives each request the next of (status, headers, body), the last one again and again."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        wbufsize = -1

        def log_message(self, *_):
            pass

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            status, headers, body = answers[min(len(asked), len(answers) - 1)]
            asked.append(dict(self.headers))
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


DONE = (200, {}, {"instances": []})
BUSY = (503, {"Retry-After": "0"}, {"detail": "the queue is full"})


def test_a_busy_server_is_asked_again_with_the_token():
    with answering(BUSY, BUSY, DONE) as (url, asked):
        assert client.Client(f"{url}/", "a-token").predict(b"png", {}) == []
    assert len(asked) == 3 and {one["Authorization"] for one in asked} == {"Bearer a-token"}


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (BUSY, "answers 503: the queue is full"),
        ((401, {}, {"detail": "a token is needed"}), "a token is needed, or it is wrong; see Settings"),
        ((422, {}, {"detail": "boxes: outside"}), "answers 422: boxes: outside"),
        ((500, {}, b"<html>"), "answers 500: Internal Server Error"),
        ((302, {"Location": "http://127.0.0.1:1/"}, b""), "answers 302"),
        ((200, {}, {"hello": 1}), "is not an insight server"),
        ((200, {}, b"<html>"), "does not answer"),
    ],
)
def test_refusals_are_one_sentence(answer, match):
    with answering(answer) as (url, asked), pytest.raises(client.ServerError, match=match):
        client.Client(url, "a-token").predict(b"png", {})
    assert len(asked) == (6 if answer is BUSY else 1)


def test_what_is_not_a_server_is_said():
    with answering(DONE) as (url, _):
        pass
    with pytest.raises(client.ServerError, match=r"does not answer .*; is `insight serve` running\?"):
        client.Client(url).predict(b"png", {})
    for address in ("localhost:8000", "ftp://localhost", ""):
        with pytest.raises(client.ServerError, match="expected an address such as"):
            client.Client(address)
    with pytest.raises(client.ServerError, match="Token"):
        client.Client(url, "a b")


def test_a_user_need_not_wait():
    cancelled = iter([False, False, True]).__next__
    with answering((503, {"Retry-After": "60"}, {})) as (url, asked), pytest.raises(client.Cancelled):
        client.Client(url, cancelled=cancelled).predict(b"png", {})
    assert len(asked) == 1
