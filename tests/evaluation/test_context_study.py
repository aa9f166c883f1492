"""The study of context: its counting by hand, and short runs."""

import json

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import BoxMode

from insight.cli.main import main
from insight.data.formats.images import write_png
from insight.errors import InputError
from insight.evaluation import context_samples, context_study
from insight.evaluation.context_samples import Sample, Samples, dataset_samples
from insight.evaluation.context_study import ROWS, PromptClassifier, study_context


class Told:
    """Gives the logits that it was made with, image after image."""

    def __init__(self, *logits):
        self.logits = iter(logits)

    def __call__(self, samples):
        return torch.tensor(next(self.logits), dtype=torch.float32)


def sample(*classes):
    boxes = torch.zeros(len(classes), 4)
    return Sample(torch.zeros(3, 8, 8, dtype=torch.uint8), boxes, torch.tensor(classes))


def test_shares_are_means_over_the_classes():
    # Cars: class 0 right once in two, class 1 always. Of all four, a car of class 1 is taken for a tank.
    told = Told([[2, 1, 0, 0], [0, 1, 0, 0], [0, 3, 9, 0]], [[0, 0, 1, 0], [0, 0, 2, 1]])
    groups = {"cars": [0, 1], "tanks": [2, 3], "all": [0, 1, 2, 3]}
    shares = context_study._test(told, Samples([], [sample(0, 0, 1), sample(2, 3)], groups, 4))
    assert shares == pytest.approx({"cars": 75, "tanks": 50, "all": 100 * (0.5 + 0 + 1 + 0) / 4})


@pytest.mark.parametrize("features", [False, True])
@pytest.mark.parametrize("modules", ROWS.values(), ids=list(ROWS))
def test_a_classifier_has_the_prompts_of_its_row_alone(modules, features):
    model = PromptClassifier(modules, 4, *((6, 5) if features else ()))
    encoder = model.encoder
    present = [x is not None for x in (encoder.local, encoder.global_to_local, encoder.constant)]
    assert present == ["LPM" in modules, "GPM" in modules, not modules]
    boxes, roi = torch.tensor([[8.0, 8, 20, 20], [40, 30, 60, 50]]), torch.rand(1, 6, 7, 7)
    samples = [
        Sample(
            torch.randint(0, 256, (3, *size), dtype=torch.uint8),
            boxes[:count],
            torch.zeros(count),
            roi.expand(count, -1, -1, -1) if features else None,
            torch.rand(5, size[0] // 32, size[1] // 32) if features else None,
        )
        for size, count in (((64, 96), 2), ((96, 64), 1))
    ]
    logits = model(samples)
    assert logits.shape == (3, 4) and bool(torch.equal(logits[0], logits[1])) == (not modules)
    if features:
        samples[1] = Sample(samples[1].image, boxes[:1], torch.zeros(1), roi + 1, samples[1].coarse + 1)
        changed = (model(samples) - logits).abs().amax(1)
        assert changed[2] > 1e-3 and changed[:2].max() < 1e-5  # its own features, and no other image's


def test_a_short_study(monkeypatch, tmp_path):
    monkeypatch.setattr(context_samples, "_TRAINING_SCENES", 4)
    monkeypatch.setattr(context_samples, "_TEST_SCENES", 6)
    monkeypatch.setattr(context_study, "_BOXES", 2)
    assert main(["measure", "context", "--output", str(tmp_path / "c.json"), "--steps", "50"]) == 0
    written = json.loads((tmp_path / "c.json").read_text())
    rows = {"context (GPM)", "both"}
    results = written["results"]["prompts alone"]
    assert set(results) == set(ROWS) | {f"{row}, context of another image" for row in rows}
    assert results["constant"] == pytest.approx({"cars": 50, "tanks": 50, "all": 25})
    assert (written["steps"], written["seed"], written["datasets"]) == (50, 0, None)


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    """Two datasets of large and small images, with bright squares on dark ground and dark ones on bright ground."""
    folder = tmp_path_factory.mktemp("squares")
    for name, count in (("squares_train", 6), ("squares_test", 4)):
        entries = []
        for index in range(count):
            size = (600, 1024) if index % 2 else (192, 160)
            image = np.full((*size, 3), 220 * (index // 2 % 2), np.uint8)
            image[48:96, 64:112] = 220 - image[0, 0]
            write_png(folder / f"{name}{index}.png", image)
            annotation = {"bbox": [64, 48, 48, 48], "bbox_mode": BoxMode.XYWH_ABS, "category_id": index // 2 % 2}
            crowd = {"bbox": [0, 0, 9, 9], "bbox_mode": BoxMode.XYWH_ABS, "category_id": 0, "iscrowd": 1}
            entries.append({"file_name": str(folder / f"{name}{index}.png"), "annotations": [crowd, annotation]})
        DatasetCatalog.register(name, lambda entries=entries: entries)
        MetadataCatalog.get(name).set(thing_classes=["bright", "dark"])
    yield
    for name in ("squares_train", "squares_test"):
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


@pytest.mark.usefixtures("squares")
def test_objects_of_a_dataset_have_the_features_of_their_own_place():
    samples = dataset_samples("squares_train", "squares_test", seed=0, most=(6, 2))
    assert (len(samples.training), len(samples.tests), samples.count) == (6, 2, 2)
    assert samples.groups == {"all": sorted({int(x.classes) for x in samples.tests})}
    for one in samples.training + samples.tests:
        assert max(one.image.shape) <= 512 and len(one.boxes) == 1  # crowds are left out
        x0, y0, x1, y1 = one.boxes[0].round().int().tolist()
        inside, around = one.image[0, y0 + 1 : y1 - 1, x0 + 1 : x1 - 1], one.image[0, :y0]
        assert inside.float().std() == 0 and abs(float(inside.float().mean() - around.float().mean())) == 220
        assert one.roi.shape == (1, 40 + 112 + 320, 7, 7)
        assert one.coarse.shape == (320, -(-one.image.shape[1] // 32), -(-one.image.shape[2] // 32))
    alone = study_context(samples, 50, features=True)
    assert alone["constant"]["all"] == 100  # the backbone tells bright from dark


@pytest.mark.usefixtures("squares")
def test_datasets_of_other_classes_are_refused(capsys, tmp_path):
    for other, message in (
        ("isaid_tiles_val", "expected the same classes in both"),
        ("moon", "unknown dataset 'moon'"),
    ):
        command = ["measure", "context", "--datasets", "squares_train", other, "--output", str(tmp_path / "c.json")]
        assert main(command) != 0
        assert message in capsys.readouterr().err


def test_too_few_steps_are_refused():
    with pytest.raises(InputError, match="steps: expected at least 50, got 49"):
        study_context(Samples([], [], {}, 4), steps=49)
