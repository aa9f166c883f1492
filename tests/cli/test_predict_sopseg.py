"""`insight predict` with a SOPSeg model, and with a detector whose masks are SOPSeg's."""

import json

import numpy as np
import pytest
import torch
import yaml
from helpers.tiny_sopseg import save_tiny_checkpoint
from PIL import Image
from pycocotools.coco import COCO

from insight import SOPSegPredictor

IMAGE = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
BOX, ORIENTED = [10, 20, 30, 40], [50, 30, 30, 8, 30]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with two images, and config and checkpoint of a tiny SOPSeg model."""
    save_tiny_checkpoint(tmp_path / "sopseg.pth", monkeypatch)
    sopseg = {"ENCODER": "vit_b", "DECODER": "sam", "INPUT_SIZE": 64}
    model = {"META_ARCHITECTURE": "SOPSegMetaArch", "DEVICE": "cpu", "SOPSEG": sopseg}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({"VERSION": 2, "MODEL": model}))
    for name in ("0.png", "1.png"):
        Image.fromarray(IMAGE).save(tmp_path / name)
    return tmp_path


@pytest.fixture
def predict(insight, place):
    def run(*args, images=("0.png",), weights=place / "sopseg.pth"):
        model = ["--config-file", place / "config.yaml", *(["--weights", weights] if weights else [])]
        return insight("predict", *(place / name for name in images), *model, "--output", place / "results", *args)

    return run


def annotations(place, name="0.png"):
    coco = COCO(str(place / "results" / "predictions.json"))
    (image_id,) = (i["id"] for i in coco.dataset["images"] if i["file_name"] == name)
    return coco, coco.loadAnns(coco.getAnnIds(imgIds=[image_id]))


def as_text(numbers):
    return ",".join(map(str, numbers))


def assert_answers(place, found, asked):
    coco, predicted = found
    bitmaps = np.array([coco.annToMask(a) for a in predicted]).astype(bool)
    np.testing.assert_array_equal(bitmaps, asked.masks.to_bitmaps().numpy())
    np.testing.assert_allclose([a["score"] for a in predicted], asked.scores.numpy(), atol=1e-5)
    corners = np.array([a["bbox"] for a in predicted])
    corners[:, 2:] += corners[:, :2]
    np.testing.assert_allclose(corners, asked.boxes.numpy(), atol=0.02)


def test_a_checkpoint_of_sam_needs_no_config(insight, place, monkeypatch):
    monkeypatch.setattr("insight.config.load_config", None)
    prompts = ("--boxes", as_text(BOX), "--oriented-boxes", as_text(ORIENTED), "--output", place / "results")
    done = insight("predict", place / "0.png", "--weights", place / "sopseg.pth", "--device", "cpu", *prompts)
    assert done.code == 0, done.err
    asked = SOPSegPredictor(place / "sopseg.pth").predict(image=IMAGE, boxes=[BOX], oriented_boxes=[ORIENTED])
    assert_answers(place, annotations(place), asked)


def test_a_checkpoint_of_a_detector_asks_for_its_config(insight, place):
    torch.save({"model": {"roi_heads.box_head.fc1.weight": torch.zeros(2)}}, place / "detector.pth")
    for options in (["--weights", place / "detector.pth"], ["--weights", place / "sopseg.pth", "SEED", "1"]):
        done = insight("predict", place / "0.png", *options, "--boxes", "1,2,9,9", "--output", place / "results")
        assert done.code == 2 and len(done.err.splitlines()) == 1 and "config that" in done.err, done.err


def test_boxes_and_oriented_boxes_of_the_command_line(predict, place):
    rotated = [-2.5, 10, 20, 8, -15]
    boxes = ("--boxes", as_text(BOX), "--oriented-boxes", as_text(ORIENTED), "--oriented-boxes", as_text(rotated))
    done = predict(*boxes, images=["0.png", "1.png"])
    assert done.code == 0, done.err
    asked = SOPSegPredictor(place / "sopseg.pth", input_size=64).predict(
        image=IMAGE, boxes=[BOX], oriented_boxes=[ORIENTED, rotated]
    )
    for name in ("0.png", "1.png"):
        assert_answers(place, annotations(place, name), asked)
    assert [c["name"] for c in annotations(place)[0].dataset["categories"]] == ["object"]
    assert Image.open(place / "results" / "overlays" / "1.png").size[0] >= 80


@pytest.mark.parametrize("corners", [False, True])
def test_oriented_boxes_of_a_json_file(predict, place, corners):
    box = [10, 20, 40, 20, 40, 30, 10, 30] if corners else [25, 25, 30, 10, 0]
    (place / "boxes.json").write_text(json.dumps({"0.png": [box], "1.png": [BOX]}))
    done = predict("--boxes-json", place / "boxes.json", images=["0.png", "1.png"])
    assert done.code == 0, done.err
    predictor = SOPSegPredictor(place / "sopseg.pth", input_size=64)
    assert_answers(place, annotations(place), predictor.predict(image=IMAGE, oriented_boxes=[box]))
    assert_answers(place, annotations(place, "1.png"), predictor.predict(image=IMAGE, boxes=[BOX]))


def test_overlays_show_the_oriented_box(predict, place, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "insight.inference.prediction.draw_instances", lambda *args, scale: drawn.append(args) or args[0]
    )
    done = predict("--boxes", as_text(BOX), "--oriented-boxes", as_text([50, 30, 30, 8, 90]))
    assert done.code == 0, done.err
    boxes = drawn[0][2]
    assert boxes[0].tolist() == BOX
    corners = np.array(boxes[1]).reshape(4, 2)
    assert sorted(map(tuple, corners.round(3).tolist())) == [(46, 15), (46, 45), (54, 15), (54, 45)]


@pytest.mark.parametrize(
    "arguments, said",
    [
        ([], "SOPSeg does not detect objects; give boxes or oriented boxes"),
        (["--boxes", "1,2,30,40", "--correct-boxes", "0.7"], "--correct-boxes: SOPSeg uses boxes as they are"),
        (["--oriented-boxes", "1,2,3,4"], "--oriented-boxes: expected 5 numbers (centre x"),
        (["--oriented-boxes", "9,9,5,0,0"], "--oriented-boxes[0] = [9.0, 9.0, 5.0, 0.0, 0.0] has no area"),
        (["--oriented-boxes", "9,9,5,5,0", "--boxes-json", "x.json"], "--boxes-json: not allowed together with"),
        (["--boxes", "1,2,3,4", "--class", "ship"], "--class: SOPSeg has no classes"),
        (["--boxes", "1,2,3,4", "MODEL.SOPSEG.ENCODER", "vit_t"], "expected the image encoder vit_t, got vit_b"),
        (["--boxes", "1,2,3,4", "MODEL.SOPSEG.DECODER", "edge"], "expected the mask decoder 'edge', got 'sam'"),
    ],
)
def test_a_mistake_is_one_line_and_code_2(predict, place, arguments, said):
    done = predict(*arguments)
    assert done.code == 2
    errors = [line for line in done.err.splitlines() if "error: " in line]
    assert len(errors) == 1 and said in errors[0]
    assert not (place / "results").exists()


def test_without_weights(predict, place):
    done = predict("--boxes", "1,2,3,4", weights=None)
    assert done.code == 2 and "error: MODEL.WEIGHTS is empty" in done.err


def test_a_detector_with_sopseg_as_its_mask_branch(insight, project, trained, place):
    image = project / "rectangles" / "images" / "0.png"
    done = insight(
        *("predict", image, "--config-file", project / "config.yaml", "--weights", trained / "model_final.pth"),
        *("--output", place / "results", "--boxes", as_text(BOX), "--oriented-boxes", as_text(ORIENTED)),
        *("MODEL.SOPSEG_BRANCH.ENABLED", True, "MODEL.SOPSEG_BRANCH.WEIGHTS", place / "sopseg.pth"),
        *("MODEL.SOPSEG_BRANCH.INPUT_SIZE", 64),
    )
    assert done.code == 0, done.err
    coco, found = annotations(place)
    asked = SOPSegPredictor(place / "sopseg.pth", input_size=64).predict(
        image=image, boxes=[BOX], oriented_boxes=[ORIENTED]
    )
    np.testing.assert_array_equal([coco.annToMask(a) for a in found], asked.masks.to_bitmaps().numpy())
    assert {c["name"] for c in coco.dataset["categories"]} == {"square", "bar"}
