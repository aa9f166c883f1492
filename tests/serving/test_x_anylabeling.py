"""X-AnyLabeling's remote protocol, by requests as its client sends them."""

import base64

import cv2
import numpy as np
import pytest
from helpers.servers import make_settings, start

from insight.inference.sopseg_predictor import SOPSegPredictor
from insight.serving.outlines import rings_to_mask
from insight.serving.x_anylabeling import Mark, to_prompts, to_shapes
from insight.structures.rle import encode_crop, rle_to_bitmap

SHAPE = {"attributes": {}, "description": None, "difficult": False, "direction": 0, "flags": None, "group_id": None}


def _recorded(path, marks, model="tiny"):
    """As RemoteServer.predict_shapes builds it."""
    image = base64.b64encode(path.read_bytes()).decode("utf-8")
    params = {"conf_threshold": 0.0, "iou_threshold": 0.0, "epsilon_factor": 0.001}
    return {
        "model": model,
        "image": f"data:image/png;base64,{image}",
        "params": {**params, "marks": marks} if marks else params,
    }


@pytest.fixture(scope="module")
def path(shared_client):
    return shared_client.app.state.services.library.images[0].path


def test_models_are_listed_as_the_client_reads_them(shared_client):
    content = shared_client.get("/v1/models", headers={"Token": ""}).json()
    about = content["data"]["tiny"]
    names = [widget["name"] for widget in about["widgets"]]
    assert {"button_add_point", "button_remove_point", "button_add_rect", "button_finish_object"} <= set(names)
    assert about["batch_processing_mode"] is None  # prompts cannot be given for a whole folder
    assert about["display_name"] == "insight tiny"
    assert shared_client.get("/v1/models/tiny/info").json()["data"]["model_id"] == "tiny"
    assert shared_client.get("/v1/models/other/info").status_code == 404


@pytest.mark.parametrize(
    ("marks", "prompts"),
    [
        ([{"type": "rectangle", "data": [10, 12, 50, 40], "label": 1}], {"boxes": [[10, 12, 50, 40]]}),
        ([{"type": "rectangle", "data": [50, 40, 10, 12], "label": 1}], {"boxes": [[10, 12, 50, 40]]}),
        (
            [{"type": "point", "data": [30, 30], "label": 1}, {"type": "point", "data": [5, 5], "label": 0}],
            {"points": [[[30, 30], [5, 5]]], "labels": [[1, 0]]},
        ),
        (
            [
                {"type": "rectangle", "data": [10, 12, 50, 40], "label": 1},
                {"type": "point", "data": [30, 30], "label": 1},
            ],
            {"boxes": [[10, 12, 50, 40]], "points": [[[30, 30]]], "labels": [[1]]},
        ),
    ],
)
def test_marks_in_shapes_out(shared_client, path, model, marks, prompts):
    answer = shared_client.post("/v1/predict", json=_recorded(path, marks), headers={"Token": ""}).json()
    assert answer["success"]
    assert answer["data"]["replace"] is False
    expected = SOPSegPredictor.from_pretrained(model, "cpu").predict(image=path, **prompts)
    mask = np.asarray(expected.masks)[0]
    parts, _ = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    shapes = answer["data"]["shapes"]
    assert len(shapes) == parts - 1
    for shape in shapes:
        assert SHAPE.items() <= shape.items()
        assert (shape["label"], shape["shape_type"]) == ("AUTOLABEL_OBJECT", "polygon")
        assert shape["points"][0] == shape["points"][-1]
        assert shape["score"] == pytest.approx(expected.scores.item(), abs=1e-4)


def test_shapes_cover_the_mask_without_its_holes():
    mask = np.zeros((64, 96), bool)
    mask[10:50, 20:70] = True
    mask[20:30, 30:40] = False
    (shape,) = to_shapes(encode_crop(mask, (0, 0), mask.shape), 0.5, "ship", 0.001)
    mask[20:30, 30:40] = True
    assert np.array_equal(rle_to_bitmap(rings_to_mask([shape["points"][:-1]], mask.shape)), mask)
    assert shape["label"] == "ship"


def test_points_belong_to_the_rectangle_that_holds_them():
    marks = [
        Mark(type="rectangle", data=[0, 0, 10, 10]),
        Mark(type="rectangle", data=[20, 0, 30, 10]),
        Mark(type="point", data=[25, 5], label=0),
        Mark(type="polygon", data=[1, 2, 3, 4, 5, 6]),
    ]
    first, second = to_prompts(marks)
    assert (list(first.points), list(second.points), list(second.labels)) == ([], [[25, 5]], [0])


def test_failures_have_the_clients_form(shared_client, path):
    marks = [{"type": "rectangle", "data": [10, 12, 50, 40], "label": 1}]
    assert shared_client.post("/v1/predict", json=_recorded(path, [])).json()["data"]["shapes"] == []
    cases = (
        ({"model": "yolo11n"}, "MODEL_NOT_FOUND"),
        ({"image": "data:image/png;base64,AAAA"}, "INVALID_IMAGE"),
        ({"params": {"marks": [{"type": "rectangle", "data": [5, 5, 5, 5], "label": 1}]}}, "INFERENCE_ERROR"),
        ({"params": {"marks": "x"}}, "INFERENCE_ERROR"),
    )
    for change, code in cases:
        reply = shared_client.post("/v1/predict", json=_recorded(path, marks) | change)
        assert reply.status_code == 200
        assert reply.json()["success"] is False
        assert reply.json()["error"]["code"] == code, reply.text
        assert reply.json()["error"]["message"]


def test_the_key_of_the_client_is_the_token(tmp_path, model):
    with start(make_settings(tmp_path, model, token="a-long-enough-token")) as client:
        assert client.get("/v1/models", headers={"Token": "a-long-enough-token"}).status_code == 200
        assert client.get("/v1/models", headers={"Token": "another-long-token"}).status_code == 401
