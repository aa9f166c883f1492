import json
import re

import cv2
import numpy as np
import pytest
from helpers.model_folders import write_tiny_detector, write_tiny_sopseg
from pycocotools.coco import COCO

import insight.engine.demonstration as demonstration
import insight.hub.finding as finding
from insight.data.scenes import CATEGORIES, draw_scene


@pytest.fixture
def shipped(tmp_path, monkeypatch, prompt_cfg, prompt_model):
    """Tiny models in place of the shipped ones, and smaller scenes."""
    monkeypatch.setattr(finding, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setattr(demonstration, "SIZE", (128, 128))
    write_tiny_sopseg(tmp_path / "shipped" / "sopseg-vit-t", monkeypatch)
    about = {"class_names": ("square", "bar"), "score_threshold": 0.0}
    write_tiny_detector(tmp_path / "shipped" / "scenes-light", prompt_cfg, prompt_model, **about)


def test_demo_shows_the_shipped_models(tmp_path, shipped, insight):
    done = insight("demo --device cpu --output", tmp_path / "out")
    assert done.code == 0, done.err
    found = re.findall(r"^(\w+) +(\d+) detections, (\d+) right, of (\d+) objects$", done.out, re.MULTILINE)
    asked = re.findall(r"^(\w+) +(boxes|loose oriented boxes) +(\d+) +([\d.]+) +([\d.]+)$", done.out, re.MULTILINE)
    assert [row[0] for row in found] == ["marina", "apron"] and len(asked) == 4
    coco = COCO(str(tmp_path / "out" / "polygons.json"))
    for image in coco.dataset["images"]:
        name = image["file_name"].removesuffix(".png")
        kind, seed = demonstration.SCENES[name]
        scene = draw_scene(seed, (128, 128), kind, "optical")
        masks = [coco.annToMask(one).astype(bool) for one in coco.loadAnns(coco.getAnnIds(image["id"]))]
        truth = [one.full_mask((128, 128)) for one in scene.instances]
        iou = 100 * np.mean([(a & b).sum() / (a | b).sum() for a, b in zip(masks, truth, strict=True)])
        row = next(row for row in asked if row[:2] == (name, "boxes"))
        assert (int(row[2]), float(row[3])) == (len(truth), pytest.approx(iou, abs=0.06))
        classes = [coco.cats[one["category_id"]]["name"] for one in coco.loadAnns(coco.getAnnIds(image["id"]))]
        assert classes == [one.category for one in scene.instances]
        for kind in ("found", "boxes", "loose"):
            height, width = cv2.imread(str(tmp_path / "out" / f"{name}_{kind}.png")).shape[:2]
            assert width == 3 * height
    assert (
        tuple(
            category["name"] for category in json.loads((tmp_path / "out" / "polygons.json").read_text())["categories"]
        )
        == CATEGORIES
    )


def test_demo_without_shipped_models_is_one_line(tmp_path, monkeypatch, insight):
    monkeypatch.setattr(finding, "SHIPPED", tmp_path / "nothing")
    monkeypatch.setenv("INSIGHT_CACHE", str(tmp_path))
    done = insight("demo --output", tmp_path / "out")
    assert done.code == 2 and done.err.startswith("error: sopseg-vit-t: unknown model; there are no models here")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", ["--config-file scenes", "SOLVER.MAX_ITER 3"])
def test_a_config_is_for_a_training(tmp_path, insight, words):
    done = insight(f"demo {words} --output", tmp_path / "out")
    assert done.code == 2 and done.err == "error: --train: a config, or changes to it, are for training; add --train\n"


@pytest.mark.slow
def test_demo_trains_evaluates_prompts_and_draws_and_is_quick_the_second_time(tmp_path, project, insight):
    arguments = ("--train", "--config-file", project / "config.yaml", "--output", tmp_path / "out")
    first = insight("demo", *arguments)
    assert first.code == 0, first.err
    numbers = dict(re.findall(r"^(mask AP50|prompted mIoU|ms a prompt) +([\d.]+)$", first.out, re.MULTILINE))
    assert len(numbers) == 3
    found = sorted((tmp_path / "out" / "overlays").glob("*_found.png"))
    prompted = sorted((tmp_path / "out" / "overlays").glob("*_prompted.png"))
    assert (len(found), len(prompted)) == (6, 5), "the last image has no objects"
    height, width, _ = cv2.imread(str(found[0])).shape
    assert cv2.imread(str(prompted[0])).shape == (height, 3 * width, 3)

    weights = (tmp_path / "out" / "model_final.pth").stat().st_mtime_ns
    second = insight("demo", *arguments)
    assert second.code == 0, second.err
    assert (tmp_path / "out" / "model_final.pth").stat().st_mtime_ns == weights
    again = dict(re.findall(r"^(mask AP50|prompted mIoU) +([\d.]+)$", second.out, re.MULTILINE))
    assert again == {name: numbers[name] for name in again}


def test_demo_names_a_missing_config(tmp_path, insight):
    done = insight("demo --train", "--config-file", tmp_path / "none.yaml")
    assert done.code == 2
    assert "none.yaml: no such file" in done.err
