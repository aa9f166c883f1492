"""A real Label Studio with the server as its backend: project, task, rotated rectangle, mask, export.

Label Studio lives in an environment of its own (`python -m venv ls && ls/bin/pip install label-studio`), whose bin
folder LABEL_STUDIO_BIN names.
"""

import contextlib
import os
import socket
import subprocess
import time
from pathlib import Path

import cv2
import httpx
import numpy as np
import pytest
from helpers.servers import running, write_images
from pycocotools.coco import COCO

from insight.data.formats.label_studio import label_studio_to_coco
from insight.data.formats.label_studio_brush import decode_brush
from insight.inference.sopseg_predictor import SOPSegPredictor
from insight.serving.label_studio import rectangle_corners
from insight.serving.outlines import rings_to_mask
from insight.structures.rle import rle_to_bitmap

pytestmark = [pytest.mark.slow, pytest.mark.label_studio, pytest.mark.timeout(1800)]
TOKEN = "0123456789abcdef0123456789abcdef01234567"
CONFIG = """<View>
  <Image name="image" value="$image"/>
  <RectangleLabels name="box" toName="image" smart="true" canRotate="true"><Label value="ship"/></RectangleLabels>
  <KeyPointLabels name="point" toName="image" smart="true"><Label value="ship"/></KeyPointLabels>
  <BrushLabels name="mask" toName="image"><Label value="ship"/></BrushLabels>
</View>"""
VALUE = {"x": 30, "y": 20, "width": 40, "height": 25, "rotation": 20, "rectanglelabels": ["ship"]}


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """A client of a running Label Studio, and its data folder."""
    folder = os.environ.get("LABEL_STUDIO_BIN")
    if not folder:
        pytest.skip("no Label Studio; set LABEL_STUDIO_BIN to the bin folder of an environment that has it")
    data = tmp_path_factory.mktemp("label_studio")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [Path(folder) / "label-studio", "start", "--no-browser", "--port", str(port), "--data-dir", data]
    command += ["--username", "a@example.org", "--password", "long-enough", "--user-token", TOKEN]
    settings = {
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "USE_DEFAULT_BANNED_SUBNETS": "false",  # else it refuses a backend on this machine
        "COLLECT_ANALYTICS": "false",
        "SENTRY_DSN": "",
    }
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")} | settings
    with open(data / "log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{address}/health").status_code == 200:
                    break
            assert process.poll() is None, (data / "log").read_text()[-3000:]
            time.sleep(1)
        with httpx.Client(base_url=address, headers={"Authorization": f"Token {TOKEN}"}, timeout=120) as client:
            yield client, data
    finally:
        process.terminate()
        process.wait()


def test_a_rotated_rectangle_becomes_a_mask_that_is_exported(studio, tmp_path, model):
    client, data = studio
    (image,) = write_images(tmp_path, [(64, 96)])
    predictor = SOPSegPredictor.from_pretrained(model, "cpu")
    corners = rectangle_corners(VALUE, (64, 96))
    expected = np.asarray(predictor.predict(oriented_boxes=[corners], image=image).masks)[0]
    with running(tmp_path / "log", model, label_studio_root=str(data)) as (_, backend):
        project = client.post("/api/projects", json={"title": "Ships", "label_config": CONFIG}).json()["id"]
        uploaded = client.post(f"/api/projects/{project}/import", files={"file": ("a.png", image.read_bytes())})
        assert uploaded.status_code == 201, uploaded.text
        connected = client.post("/api/ml", json={"url": backend, "project": project, "is_interactive": True})
        assert connected.status_code == 201, connected.text
        (task,) = client.get("/api/tasks", params={"project": project}).json()["tasks"]
        region = {
            "id": "drawn", "type": "rectanglelabels", "from_name": "box", "to_name": "image", "value": VALUE,
            "original_width": 96, "original_height": 64, "image_rotation": 0,
        }  # fmt: skip
        asked = {"task": task["id"], "context": {"result": [region]}}
        answer = client.post(f"/api/ml/{connected.json()['id']}/interactive-annotating", json=asked)
        assert answer.status_code == 200 and "data" in answer.json(), answer.text
        (drawn,) = answer.json()["data"]["result"]
        assert np.array_equal(decode_brush(drawn["value"]["rle"], (64, 96)), expected)
        client.post(f"/api/tasks/{task['id']}/annotations", json={"result": [drawn]}).raise_for_status()
    exported = client.get(f"/api/projects/{project}/export", params={"exportType": "JSON"}).json()
    content = label_studio_to_coco(exported, tmp_path / "export.json")
    coco = COCO()
    coco.dataset = content
    coco.createIndex()
    found = coco.annToMask(content["annotations"][0]).astype(bool)
    assert (found & expected).sum() == (found | expected).sum()


def test_whole_tasks_and_points_over_http_with_a_token(studio, tmp_path, model):
    """Images come from the address that Label Studio gives itself; rectangles of tasks become predictions."""
    client, _ = studio
    (image,) = write_images(tmp_path, [(64, 96)])
    predictor = SOPSegPredictor.from_pretrained(model, "cpu")
    predictor.set_image(image)
    corners = rectangle_corners(VALUE, (64, 96))
    expected = np.asarray(predictor.predict(oriented_boxes=[corners]).masks)[0]
    with running(
        tmp_path / "log", model, token="t" * 20, allowed_urls=[f"http://localhost:{client.base_url.port}"]
    ) as (_, backend):
        config = CONFIG.replace("BrushLabels", "PolygonLabels")
        project = client.post("/api/projects", json={"title": "Boxes", "label_config": config}).json()["id"]
        client.post(f"/api/projects/{project}/import", files={"file": ("a.png", image.read_bytes())})
        (task,) = client.get("/api/tasks", params={"project": project}).json()["tasks"]
        region = {
            "id": "given", "type": "rectanglelabels", "from_name": "box", "to_name": "image", "value": VALUE,
            "original_width": 96, "original_height": 64, "image_rotation": 0,
        }  # fmt: skip
        client.post("/api/predictions", json={"task": task["id"], "result": [region]}).raise_for_status()
        asked = {"url": backend, "project": project, "is_interactive": True}
        assert client.post("/api/ml", json=asked).status_code == 400  # without the token
        asked |= {"auth_method": "BASIC_AUTH", "basic_auth_user": "insight", "basic_auth_pass": "t" * 20}
        connected = client.post("/api/ml", json=asked)
        assert connected.status_code == 201, connected.text
        action = client.post(
            "/api/dm/actions",
            params={"id": "retrieve_tasks_predictions", "project": project},
            json={"selectedItems": {"all": True, "excluded": []}},
        )
        assert action.status_code == 200, action.text
        predictions = client.get("/api/predictions", params={"task": task["id"]}).json()
        regions = [one for found in predictions for one in found["result"] if one["type"] == "polygonlabels"]
        mask = np.zeros((64, 96), np.uint8)
        for found in regions:
            points = np.array(found["value"]["points"]) * (96, 64) / 100
            mask |= rle_to_bitmap(rings_to_mask([points.tolist()], (64, 96)))
        outlines, _ = cv2.findContours(expected.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        outer = cv2.drawContours(
            np.zeros((64, 96), np.uint8), outlines, -1, 1, cv2.FILLED
        )  # its polygons have no holes
        assert (mask & outer).sum() / (mask | outer).sum() > 0.9
        point = {**region, "type": "keypointlabels", "from_name": "point"}
        point["value"] = {"x": 50, "y": 30, "width": 0.3, "keypointlabels": ["ship"]}
        asked = {"task": task["id"], "context": {"result": [region, point]}}
        answer = client.post(f"/api/ml/{connected.json()['id']}/interactive-annotating", json=asked)
        assert {one["type"] for one in answer.json()["data"]["result"]} == {"polygonlabels"}, answer.text
