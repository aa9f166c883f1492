"""The study of context: its counting by hand, and a short run."""

import json

import pytest
import torch

from insight.cli.main import main
from insight.errors import InputError
from insight.evaluation import context_study
from insight.evaluation.context_study import ROWS, PromptClassifier, study_context


class Told:
    """Gives the logits that it was made with, scene after scene."""

    def __init__(self, *logits):
        self.logits = iter(logits)

    def __call__(self, images, boxes):
        return torch.tensor(next(self.logits), dtype=torch.float32)


def sample(*classes):
    boxes = torch.zeros(len(classes), 4)
    return context_study._Sample(torch.zeros(3, 8, 8, dtype=torch.uint8), boxes, torch.tensor(classes))


def test_shares_are_means_over_the_classes():
    # Cars: class 0 right once in two, class 1 always. Of all four, a car of class 1 is taken for a tank.
    told = Told([[2, 1, 0, 0], [0, 1, 0, 0], [0, 3, 9, 0]], [[0, 0, 1, 0], [0, 0, 2, 1]])
    shares = context_study._test(told, [sample(0, 0, 1), sample(2, 3)])
    assert shares == pytest.approx({"cars": 75, "tanks": 50, "all": 100 * (0.5 + 0 + 1 + 0) / 4})


@pytest.mark.parametrize("modules", ROWS.values(), ids=list(ROWS))
def test_a_classifier_has_the_prompts_of_its_row_alone(modules):
    model = PromptClassifier(modules)
    encoder = model.encoder
    present = [x is not None for x in (encoder.local, encoder.global_to_local, encoder.constant)]
    assert present == ["LPM" in modules, "GPM" in modules, not modules]
    images = [torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8) for _ in range(2)]
    boxes = torch.tensor([[8.0, 8, 20, 20], [40, 30, 60, 50]])
    logits = model(images, [boxes, boxes[:1]])
    assert logits.shape == (3, 4) and bool(torch.equal(logits[0], logits[1])) == (not modules)


def test_a_short_study(monkeypatch, tmp_path):
    monkeypatch.setattr(context_study, "_TRAINING_SCENES", 4)
    monkeypatch.setattr(context_study, "_TEST_SCENES", 6)
    monkeypatch.setattr(context_study, "_BOXES", 2)
    assert main(["measure", "context", "--output", str(tmp_path / "c.json"), "--steps", "50"]) == 0
    written = json.loads((tmp_path / "c.json").read_text())
    rows = {"context (GPM)", "both"}
    assert set(written["results"]) == set(ROWS) | {f"{row}, context of another image" for row in rows}
    assert written["results"]["constant"] == pytest.approx({"cars": 50, "tanks": 50, "all": 25})
    assert (written["steps"], written["seed"]) == (50, 0)


def test_too_few_steps_are_refused():
    with pytest.raises(InputError, match="steps: expected at least 50, got 49"):
        study_context(steps=49)
