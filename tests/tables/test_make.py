"""Making a table with pictures: drawn of the trained models after their runs, which are not repeated for them."""

import dataclasses
import functools
import json

import cv2
import numpy as np
import pytest
import torch
import yaml
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model
from helpers.tiny import CONFIG, write_dataset

from insight.inference.predictor import PromptPredictor
from insight.tables import make, sweep
from insight.tables.make import make_table
from insight.tables.runs import plan_runs

NAME = "test_make_pictures"


@pytest.fixture
def table(description, read, tmp_path):
    """Describe a table of two tiny models with these pictures, and read it."""
    annotations, images = write_dataset(tmp_path / "rectangles")
    datasets = {"COCO": [[NAME, str(annotations), str(images)]], "TRAIN": [NAME], "TEST": [NAME]}
    model = {**CONFIG["MODEL"], "META_ARCHITECTURE": "PromptRCNN"}
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({**CONFIG, "MODEL": model, "DATASETS": datasets}))
    columns = {"mask AP": f"{NAME}/segm/AP"}
    yield lambda **pictures: read({**description, "columns": columns, "seeds": [1], "pictures": pictures})
    if NAME in DatasetCatalog:
        DatasetCatalog.remove(NAME)
        MetadataCatalog.remove(NAME)


@pytest.fixture
def executed(monkeypatch, finish, tmp_path):
    """Runs are recorded and end at once, with other random weights each."""

    class Executed(list):
        fails = None

    jobs = Executed()

    def execute(job, bar, lock):
        jobs.append(job.label)
        if job.label == jobs.fails:
            return "stopped"
        run = next(run for run in jobs.runs if run.folder == job.folder)
        torch.manual_seed(len(jobs))
        job.folder.mkdir(parents=True, exist_ok=True)
        torch.save({"model": build_model(run.cfg).state_dict()}, job.folder / "model_final.pth")
        finish(run, dataset=NAME)
        return None

    monkeypatch.setattr(sweep, "execute", execute)

    def make_it(table):
        jobs.runs = plan_runs(table, tmp_path / "out" / "runs")
        return make_table(table, tmp_path / "out", "make it")

    jobs.make = make_it
    return jobs


def test_pictures_follow_the_runs_and_repeat_none(table, executed, tmp_path, monkeypatch):
    # These models are sure of nothing.
    monkeypatch.setattr(make, "draw_comparisons", functools.partial(make.draw_comparisons, score_threshold=0.0))
    two = table(images=["3.png", "1.png"])
    paths, failures = executed.make(two)
    assert failures == {} and executed == ["baseline, seed 1", "faster, seed 1"]
    assert [p.relative_to(tmp_path / "out").as_posix() for p in paths[-2:]] == ["table/3.png", "table/1.png"]
    text = paths[0].read_text()
    assert text.endswith("![3](<table/3.png>)\n\n![1](<table/1.png>)\n")
    picture = cv2.imread(str(paths[-1]))[28:]  # below the titles
    truth, baseline, faster = np.split(picture, 3, axis=1)
    assert not np.array_equal(truth, baseline) and not np.array_equal(baseline, faster)
    paths[-1].unlink()
    again, _ = executed.make(two)
    assert again == paths and len(executed) == 2
    assert np.array_equal(cv2.imread(str(paths[-1]))[28:], picture)


def test_prompted_pictures_ask_for_the_true_boxes(table, executed, monkeypatch):
    asked = []
    predict = PromptPredictor.predict
    monkeypatch.setattr(
        PromptPredictor, "predict", lambda self, *, boxes: asked.append(len(boxes)) or predict(self, boxes=boxes)
    )
    paths, _ = executed.make(table(count=2, prompted=True))
    assert [p.name for p in paths[-2:]] == ["0.png", "1.png"]
    assert asked == [3] * 4  # two images, two models, and three rectangles in each


def test_the_worst_pictures_are_those_of_the_last_row(table, description, executed, tmp_path):
    options = {"MODEL.META_ARCHITECTURE": "SOPSegMetaArch", "INPUT.FORMAT": "RGB"}
    options |= {"MODEL.SOPSEG.ENCODER": "vit_t", "MODEL.SOPSEG.INPUT_SIZE": 64}
    description["rows"] = [{**row, "options": options | row.get("options", {})} for row in description["rows"]]
    worst = table(count=2, worst=True)
    for run, ious in zip(plan_runs(worst, tmp_path / "out" / "runs"), ([0.1, 0.2, 0.3], [0.9, 0.2, 0.1])):
        (run.folder / "inference").mkdir(parents=True)
        instances = [{"image_id": image, "iou": iou} for image, iou in enumerate(ious, 1)]
        (run.folder / "inference" / f"{NAME}_prompted.json").write_text(json.dumps({"instances": instances}))
    paths, failures = executed.make(worst)
    assert failures == {} and [p.name for p in paths[-2:]] == ["2.png", "1.png"]  # of images 3 and 2


def test_a_detector_has_no_worst_objects(table, executed):
    with pytest.raises(ValueError, match="worst: expected a SOPSeg model in the last row, 'faster' is not one"):
        executed.make(table(worst=True))
    assert executed == []


def test_no_pictures_while_a_run_is_lacking(table, executed, tmp_path):
    executed.fails = "faster, seed 1"
    paths, failures = executed.make(table())
    assert list(failures) == ["faster, seed 1"]
    assert not (tmp_path / "out" / "table").exists() and "![" not in paths[0].read_text()


def test_an_image_that_is_not_there_is_told_before_anything_runs(table, executed):
    with pytest.raises(ValueError, match=f"9.png: no such image in {NAME}"):
        executed.make(table(images=["9.png"]))
    assert executed == []


def test_weights_that_are_not_there_are_told_before_anything_runs(table, executed, tmp_path, description):
    description["rows"][1]["options"]["MODEL.WEIGHTS"] = "absent.pth"
    without_pictures = dataclasses.replace(table(), pictures=None)
    with pytest.raises(ValueError, match="MODEL.WEIGHTS: absent.pth: no such checkpoint"):
        executed.make(without_pictures)
    assert executed == []
    resumed = plan_runs(without_pictures, tmp_path / "out" / "runs")[1].folder
    resumed.mkdir(parents=True)
    (resumed / "last_checkpoint").write_text("model_0000003.pth")  # from which it would go on
    assert executed.make(without_pictures)[1] == {}


def test_a_data_set_that_is_not_whole_is_told_before_anything_runs(table, executed, tmp_path):
    (tmp_path / "rectangles" / "images" / "3.png").unlink()
    without_pictures = dataclasses.replace(table(), pictures=None)
    with pytest.raises(ValueError, match="images are missing on disk; 1 is wrong"):
        executed.make(without_pictures)
    assert executed == [] and not list(tmp_path.rglob("*.md"))  # nor is there a table of nothing
