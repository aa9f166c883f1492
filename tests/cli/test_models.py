"""`insight models`, and --model in the commands that run a model."""

import json

import numpy as np
import pytest
import torch
import yaml
from helpers.model_folders import write_tiny_detector, write_tiny_sopseg
from PIL import Image
from pycocotools.coco import COCO

import insight.hub.finding as finding
from insight import PromptPredictor, SOPSegPredictor

IMAGE = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
METRICS = {"val": {"prompted": {"mIoU": 80.0}}}


@pytest.fixture
def place(tmp_path, monkeypatch, prompt_cfg, prompt_model):
    """A folder with an image, and both default models as if they were shipped."""
    monkeypatch.setattr(finding, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setenv("INSIGHT_CACHE", str(tmp_path / "cache"))
    write_tiny_sopseg(tmp_path / "shipped" / "sopseg-vit-t", monkeypatch, license="mit", metrics=METRICS)
    about = {"class_names": ("square", "bar"), "score_threshold": 0.01}
    cfg = prompt_cfg.clone()
    cfg.TEST.DETECTIONS_PER_IMAGE = 5
    write_tiny_detector(tmp_path / "shipped" / "scenes-light", cfg, prompt_model, **about)
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def masks_of(folder):
    coco = COCO(str(folder / "predictions.json"))
    found = sorted(coco.dataset["annotations"], key=lambda entry: entry["id"])
    return np.array([coco.annToMask(entry) for entry in found]).astype(bool), coco


def test_the_list(insight, place):
    done = insight("models")
    lines = [line.split() for line in done.out.splitlines()]
    assert done.code == 0 and lines[0] == ["name", "kind", "MB", "license", "where", "metrics"]
    assert [line[:2] + line[3:] for line in lines[1:]] == [
        ["scenes-light", "detector", "unknown", "shipped"],
        ["sopseg-vit-t", "sopseg", "mit", "shipped", "val", "prompted", "mIoU", "80.0"],
    ]
    (place / "shipped" / "scenes-light" / "config.json").write_text("{}")
    done = insight("models")
    assert done.code == 1 and "scenes-light  unusable" in done.out and "not a model of insight" in done.out


def test_the_list_of_none(insight, place, monkeypatch):
    monkeypatch.setattr(finding, "SHIPPED", place / "nothing")
    done = insight("models")
    assert done.code == 0 and done.out.startswith("no models")


def test_show_prints_the_card_without_its_front_matter(insight, place):
    done = insight("models show", "sopseg-vit-t")
    assert done.code == 0 and done.out.startswith("sopseg-vit-t: sopseg, 10.2 MB, mit, in ")
    assert "## Metrics" in done.out
    assert "pipeline_tag" not in done.out
    done = insight("models show", "sopseg_vit_t")
    assert done.code == 2 and "did you mean sopseg-vit-t?" in done.err


def test_fetch_copies_into_the_cache(insight, place):
    done = insight("models fetch", place / "shipped" / "sopseg-vit-t", "--name", "mine")
    assert done.code == 0 and done.out.strip().endswith("use it as --model mine")
    copied = place / "cache" / "models" / "mine"
    for name in ("config.json", "model.safetensors", "README.md"):
        assert (copied / name).read_bytes() == (place / "shipped" / "sopseg-vit-t" / name).read_bytes()
    assert insight("models show", "mine").code == 0
    done = insight("models fetch", "sopseg-vit-t", "--name", "a/b")
    assert done.code == 2 and done.err.startswith("error: --name: expected letters")


def test_boxes_need_no_model_and_no_config(insight, place):
    done = insight("predict a.png --boxes 10,20,30,40 --oriented-boxes 50,30,30,8,30 --output out")
    assert done.code == 0 and done.out.startswith("model: sopseg-vit-t, "), done.err
    asked = SOPSegPredictor.from_pretrained("sopseg-vit-t").predict(
        image=IMAGE, boxes=[[10, 20, 30, 40]], oriented_boxes=[[50, 30, 30, 8, 30]]
    )
    np.testing.assert_array_equal(masks_of(place / "out")[0], np.asarray(asked.masks))


def test_without_boxes_the_default_detector_answers_at_its_own_threshold(insight, place):
    done = insight("predict a.png --output out --device cpu")
    assert done.code == 0 and done.out.startswith("model: scenes-light, "), done.err
    predictor = PromptPredictor.from_pretrained("scenes-light", "cpu")
    predictor.set_image(IMAGE)
    found = predictor.detect()
    masks, coco = masks_of(place / "out")
    assert len(masks) == len(found) > 0
    np.testing.assert_array_equal(masks, np.asarray(found.masks))
    assert {c["name"] for c in coco.dataset["categories"]} == {"square", "bar"}
    middle = float(found.scores.median())
    strict = PromptPredictor.from_pretrained("scenes-light", "cpu", score_threshold=middle)
    strict.set_image(IMAGE)
    assert 0 < len(strict.detect()) == (found.scores > middle).sum() < len(found)


def test_a_known_class_or_corrected_boxes_ask_the_detector(insight, place):
    for more in (["--class", "bar"], ["--correct-boxes", "0.5"]):
        done = insight("predict a.png --boxes 10,20,30,40 --device cpu --output", place / more[0], *more)
        assert done.code == 0 and done.out.startswith("model: scenes-light, "), done.err


def test_overrides_over_a_model(insight, place):
    done = insight("predict a.png --model sopseg-vit-t --boxes 10,20,30,40 --output out MODEL.SOPSEG.INPUT_SIZE 128")
    assert done.code == 0, done.err
    asked = SOPSegPredictor.from_pretrained("sopseg-vit-t", input_size=128).predict(image=IMAGE, boxes=[10, 20, 30, 40])
    np.testing.assert_array_equal(masks_of(place / "out")[0], np.asarray(asked.masks))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("predict a.png --model scenes-light --weights x.pth", "--model: not allowed together with weights"),
        ("predict a.png --model scenes-light --config-file scenes", "--model: not allowed together with config_file"),
        (
            "predict a.png --weights a.png",
            "--weights: expected the config that the checkpoint was trained with as well",
        ),
        ("predict a.png --model scenes_light", "scenes_light: unknown model; did you mean scenes-light?"),
        ("predict a.png --model sopseg-vit-t", "--boxes: SOPSeg does not detect objects"),
        ("predict a.png --model sopseg-vit-t --boxes 1,2,3,4 --class bar", "--class: SOPSeg has no classes"),
        ("predict a.png --boxes 1,2,30,40 --model scenes-light --class ship", "--class: "),
        (
            "annotate boxes.json --images . --model scenes-light",
            "scenes-light: expected a SOPSeg model, got a detector",
        ),
        ("annotate boxes.json --images . --model sopseg-vit-t --weights x.pth", "--model: not allowed together with w"),
    ],
)
def test_wrong_choices_are_one_line(insight, place, words, said):
    done = insight(words, "--output", place / "out")
    assert done.code == 2 and len(done.err.splitlines()) == 1 and done.err.startswith(f"error: {said}"), done


@pytest.mark.parametrize("command", ["evaluate", "measure jitter --output x.json", "measure missed --output x.json"])
def test_commands_that_run_a_model_ask_for_one(insight, place, command):
    done = insight(command)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: --model: expected the name or folder of a model, or a config_file"), done.err


def test_annotate_needs_no_model(insight, place):
    annotation = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 20, 20, 20], "area": 400, "iscrowd": 0}
    image = {"id": 1, "file_name": "a.png", "height": 64, "width": 80}
    coco = {"images": [image], "annotations": [annotation], "categories": [{"id": 1, "name": "boat"}]}
    (place / "boxes.json").write_text(json.dumps(coco))
    bounds = "--min-score -100 --min-in-box 0 --min-area-ratio 0 --max-area-ratio 100 --min-largest-part 0"
    done = insight(f"annotate boxes.json --images . --output out {bounds}")
    assert done.code == 0, done
    assert "model: sopseg-vit-t, " in done.out
    found = COCO(str(place / "out" / "instances.json"))
    ours = found.annToMask(found.dataset["annotations"][0]).astype(bool)
    asked = SOPSegPredictor.from_pretrained("sopseg-vit-t").predict(image=IMAGE, boxes=[10, 20, 30, 40])
    np.testing.assert_array_equal(ours, np.asarray(asked.masks)[0])


def test_evaluate_and_measure_a_model_by_name(insight, place, project):
    datasets = yaml.safe_load((project / "config.yaml").read_text())["DATASETS"]
    overrides = ["DATASETS.COCO", str(datasets["COCO"]), "DATASETS.TEST", '("tool_rectangles",)']
    done = insight(
        "evaluate --model scenes-light --device cpu",
        *overrides,
        "OUTPUT_DIR",
        place / "evaluated",
        "DATALOADER.NUM_WORKERS",
        0,
    )
    assert done.code == 0, done.err
    results = json.loads((place / "evaluated" / "results.json").read_text())["results"]["tool_rectangles"]
    assert set(results) == {"bbox", "segm"}
    measure = ["measure jitter --noise 0 --device cpu --output", place / "jitter.json"]
    done = insight(*measure, "--model", "scenes-light", *overrides)
    assert done.code == 0, done.err
    measured = json.loads((place / "jitter.json").read_text())
    assert measured["weights"] == str(place / "shipped" / "scenes-light" / "model.safetensors")


def test_a_models_classes_must_be_those_of_the_dataset(insight, place, project, prompt_cfg, prompt_model):
    write_tiny_detector(place / "other", prompt_cfg, prompt_model, class_names=("bar", "square"))
    datasets = yaml.safe_load((project / "config.yaml").read_text())["DATASETS"]
    overrides = ["DATASETS.COCO", str(datasets["COCO"]), "DATASETS.TEST", '("tool_rectangles",)']
    done = insight("evaluate --model other --device cpu", *overrides, "OUTPUT_DIR", place / "evaluated")
    assert done.code == 2 and "bar" in done.err and "square" in done.err


def test_a_training_starts_from_a_model_by_its_name(insight, place, project, prompt_model):
    words = ["--config-file", project / "config.yaml", "OUTPUT_DIR", place / "output"]
    done = insight("train --weights scenes-lite", *words)
    assert done.code == 2 and "did you mean scenes-light?" in done.err and not (place / "output").exists()
    still = ["SOLVER.MAX_ITER", 1, "SOLVER.BASE_LR", 0.0, "DATALOADER.NUM_WORKERS", 0, "DATASETS.TEST", "()"]
    done = insight("train --weights scenes-light --device cpu", *words, *still)
    assert done.code == 0, done.err
    ends = torch.load(place / "output" / "model_final.pth", weights_only=True)["model"]
    assert ends.keys() == prompt_model.state_dict().keys()
    for name, value in prompt_model.named_parameters():
        torch.testing.assert_close(ends[name], value.data, rtol=1e-3, atol=1e-6)  # stored in half precision


def test_export_a_training(insight, place, trained):
    done = insight("models export", trained, place / "mine", "--license", "mit", "--training", "start=random weights")
    assert done.code == 0 and "detector" in done.out, done.err
    content = json.loads((place / "mine" / "config.json").read_text())
    assert content["class_names"] == ["square", "bar"] and content["training"]["start"] == "random weights"
    assert content["training"]["command"].startswith("insight train --config-file config.yaml SOLVER.MAX_ITER 2")
    done = insight("predict a.png --model mine --output out --score-threshold 0 --device cpu")
    assert done.code == 0, done.err
    assert (place / "out" / "predictions.json").is_file()
    for words, said in (
        (["--training", "start"], "--training: expected KEY=TEXT, got 'start'"),
        (["--gsd", "2", "1"], "--gsd: expected two positive numbers"),
        (["--score-threshold", "2"], "--score-threshold: expected a number from 0 to 1"),
    ):
        done = insight("models export", trained, place / "mine", *words)
        assert done.code == 2 and done.err.startswith(f"error: {said}"), done.err


def test_onnx_files(insight, place):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    done = insight("models onnx sopseg-vit-t edge")
    assert done.code == 0 and done.out.startswith("wrote edge/encoder.onnx and edge/decoder.onnx; at most "), done.err
    assert {path.name for path in (place / "edge").iterdir()} == {"encoder.onnx", "decoder.onnx"}
    done = insight("models onnx scenes-light edge")
    assert done.code == 2 and done.err.startswith("error: scenes-light: expected a SOPSeg model, got a detector")
