"""The scripts in examples/ run, and what they say is true."""

import json
import re
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.tiny_sopseg import save_tiny_checkpoint
from PIL import Image

from insight import SOPSegPredictor
from insight.data.scenes import draw_scene
from insight.hub.onnx_export import export_onnx
from insight.structures.oriented_boxes import oriented_corners

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run a script with arguments in an empty folder; returns what it prints."""

    def run_script(name: str, *arguments: str) -> str:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run_script


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_scripts_are_short_and_listed(script):
    assert len(script.read_text().splitlines()) < 60
    assert f"`{script.name}`" in (EXAMPLES / "README.md").read_text()


def test_kernels(run):
    printed = run("kernels.py")
    rows = re.findall(r"^(\w+) +([\d.e+-]+) +([\d.]+) +([\d.]+)$", printed, re.MULTILINE)
    assert [row[0] for row in rows] == ["crop_resize", "global_to_local_attention", "area_loss"]
    assert all(float(row[1]) < 1e-3 and float(row[2]) > 0 for row in rows)


def test_boxes_to_masks(run, monkeypatch, tmp_path):
    save_tiny_checkpoint(tmp_path / "sopseg.pth", monkeypatch, decoder="edge")
    printed = run("boxes_to_masks.py", "--weights", "sopseg.pth", "--output", "out")
    boats = int(re.search(r"(\d+) boats", printed)[1])
    written = json.loads((tmp_path / "out/boats.json").read_text())
    assert len(written["annotations"]) == boats > 10
    assert written["categories"] == [{"id": 1, "name": "ship"}]
    image = np.asarray(Image.open(tmp_path / "out/marina.png"))
    scene = draw_scene(seed=5, size=image.shape[:2], kind="harbour", look="optical")
    assert (image == scene.image).all()
    assert boats == sum(instance.category == "ship" for instance in scene.instances)
    picture = np.asarray(Image.open(tmp_path / "out/boats.png"))
    assert picture.shape[0] % image.shape[0] == 0 and picture.std() > 0


def test_boxes_to_masks_with_the_shipped_model(run):
    printed = run("boxes_to_masks.py")
    assert float(re.search(r"mean IoU with the ground truth ([\d.]+)", printed)[1]) > 0.7


@pytest.mark.slow
def test_onnx_masks_are_those_of_the_predictor(run, tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    scene = draw_scene(seed=5, size=(320, 320), kind="harbour", look="optical")
    boxes = oriented_corners([boat.oriented_box for boat in scene.instances if boat.category == "ship"])
    Image.fromarray(scene.image).save(tmp_path / "image.png")
    np.savetxt(tmp_path / "boxes.txt", boxes.flatten(1))
    export_onnx("sopseg-vit-t", tmp_path / "edge")
    run("onnx_masks.py", "edge", "image.png", "boxes.txt", "masks.png")
    numbers = np.asarray(Image.open(tmp_path / "masks.png"))
    expected = np.asarray(SOPSegPredictor.from_pretrained().predict(image=scene.image, oriented_boxes=boxes).masks)
    masks = np.arange(1, len(boxes) + 1)[:, None, None] == numbers
    later = np.cumsum(expected[::-1], 0)[::-1] - expected
    shown = expected & (later == 0)
    iou = (masks & shown).sum((1, 2)) / (masks | shown).sum((1, 2))
    assert len(boxes) > 10 and iou.min() > 0.95 and iou.mean() > 0.99


def test_onnx_masks_prompts_a_model_in_the_form_that_it_was_trained_for(monkeypatch):
    prompts = []
    schedule = {"small": 32, "expansion": 2, "max_size": 1024, "min_size": 16}
    about = {"crop_size": "64", "crop_schedule": json.dumps(schedule)}

    class Session:
        """A model that records its prompts and answers with the whole crop."""

        def __init__(self, path):
            names = {"encoder.onnx": (["crops"], ["embedding"]), "decoder.onnx": (["corners", "points", "labels"], [])}
            self.inputs, self.outputs = names[Path(path).name]

        def get_inputs(self):
            return [SimpleNamespace(name=name) for name in self.inputs]

        def get_outputs(self):
            return [SimpleNamespace(name=name) for name in self.outputs]

        def get_modelmeta(self):
            return SimpleNamespace(custom_metadata_map=about)

        def run(self, _, inputs):
            prompts.append(inputs)
            return [np.ones((1, 64, 64), np.float32), np.ones(1)]

    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(InferenceSession=Session))
    segment = runpy.run_path(str(EXAMPLES / "onnx_masks.py"))["segment"]
    box = oriented_corners([[100, 100, 32, 12, 20]]).numpy()
    for form, expected in (("oriented_box", 3), ("box", 0)):
        about["prompt"] = form
        list(segment("edge", Image.new("RGB", (200, 200)), box))
        found = prompts[-1]
        assert found["points"].shape == (1, expected, 2) and found["labels"].shape == (1, expected)


def test_prompt_paradigm_in_detectron2(run):
    pytest.importorskip("detectron2")
    printed = run("prompt_paradigm_in_detectron2.py")
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+)", printed)]
    assert len(losses) == 8 and losses[-1] < 0.8 * losses[0]
    answers = re.findall(r"^(\w+) +-> (\w+) ([\d.]+), (\d+) pixels$", printed, re.MULTILINE)
    assert len(answers) == 5 and all(0 <= float(score) <= 1 for *_, score, _ in answers)
