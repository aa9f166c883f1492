"""The scripts in examples/ run, and what they say is true."""

import json
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.tiny_sopseg import save_tiny_checkpoint
from PIL import Image

from insight.data.scenes import draw_scene

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


def test_prompt_paradigm_in_detectron2(run):
    pytest.importorskip("detectron2")
    printed = run("prompt_paradigm_in_detectron2.py")
    losses = [float(loss) for loss in re.findall(r"loss ([\d.]+)", printed)]
    assert len(losses) == 8 and losses[-1] < 0.8 * losses[0]
    answers = re.findall(r"^(\w+) +-> (\w+) ([\d.]+), (\d+) pixels$", printed, re.MULTILINE)
    assert len(answers) == 5 and all(0 <= float(score) <= 1 for *_, score, _ in answers)
