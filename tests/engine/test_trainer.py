import errno
import json
import logging
import os
from pathlib import Path

import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.engine import HookBase
from helpers.tiny import write_dataset

from insight.checkpoint import CheckpointError
from insight.config import load_config
from insight.data.datasets import register_from_config
from insight.engine import Trainer, evaluate
from insight.engine.results import read_results
from insight.errors import InsightError


def test_a_full_disk_at_the_last_checkpoint_is_the_one_reason(tiny_cfg, monkeypatch, caplog):
    def save(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    evaluations = []
    tiny_cfg.SOLVER.CHECKPOINT_PERIOD = tiny_cfg.SOLVER.MAX_ITER = 2
    monkeypatch.setattr(Trainer, "test", lambda *_: evaluations.append(1) or {})
    trainer = Trainer(tiny_cfg)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left on device") as error:
        patch.setattr(torch, "save", save)
        trainer.train()
    assert error.value.filename == f"{tiny_cfg.OUTPUT_DIR}/model_0000001.pth" and error.value.__context__ is None
    assert not evaluations and not any(record.exc_info for record in caplog.records)
    assert not list(Path(tiny_cfg.OUTPUT_DIR).glob("*.pth"))
    Trainer(tiny_cfg).train()
    assert evaluations


def test_a_bug_in_a_step_is_logged_with_its_traceback(tiny_cfg, monkeypatch, caplog):
    trainer = Trainer(tiny_cfg)
    monkeypatch.setattr(logging.getLogger("detectron2"), "propagate", True)  # a command's set-up turns it off
    monkeypatch.setattr(trainer, "run_step", lambda: [][0])
    with pytest.raises(IndexError):
        trainer.train()
    logged = {id(record): record for record in caplog.records if record.exc_info}  # a record may pass two handlers
    assert [record.exc_info[0] for record in logged.values()] == [IndexError]


@pytest.mark.parametrize(
    "state", [5, {}, {"iteration": "7"}, {"iteration": 1, "_trainer": {"optimizer": {"state": {}}}}]
)
def test_a_damaged_training_state_is_refused_in_one_line(tiny_cfg, state):
    trainer = Trainer(tiny_cfg)
    trainer.checkpointer.save("model_0000001")
    path = Path(tiny_cfg.OUTPUT_DIR, "model_0000001.pth")
    torch.save({**torch.load(path, weights_only=True), "trainer": state}, path)
    with pytest.raises(CheckpointError, match=f"^{tiny_cfg.OUTPUT_DIR}: the checkpoint's training state [^\n]*$"):
        Trainer(tiny_cfg).resume_or_load(resume=True)


class Recorder(HookBase):
    """Every iteration's losses; stops the training after `stop`, as Ctrl-C would."""

    def __init__(self, stop=None):
        self.losses, self.stop = {}, stop

    def after_step(self):
        latest = self.trainer.storage.latest()
        self.losses[self.trainer.iter] = {k: v[0] for k, v in latest.items() if "loss" in k}
        if self.trainer.iter == self.stop:
            raise KeyboardInterrupt


def train(cfg, resume=False, stop=None):
    """The losses of each iteration that ran."""
    trainer = Trainer(cfg)
    recorder = Recorder(stop)
    trainer.register_hooks([recorder])
    trainer.resume_or_load(resume)
    if stop is None:
        trainer.train()
    else:
        with pytest.raises(KeyboardInterrupt):
            trainer.train()
    return recorder.losses


@pytest.fixture
def train_cfg(tiny_cfg):
    tiny_cfg.DATASETS.TEST = ()
    return tiny_cfg


@pytest.mark.parametrize(
    "config, optimizer, mixed_precision",
    [
        ("tiny_cfg", "SGD", True),
        ("tiny_cfg", "AdamW", False),
        ("prompted_cfg", "SGD", False),
        ("prompted_cfg", "AdamW", True),
    ],
)
def test_an_interrupted_training_resumes_to_the_same_losses(request, tmp_path, config, optimizer, mixed_precision):
    train_cfg = request.getfixturevalue(config)
    train_cfg.DATASETS.TEST = ()
    train_cfg.SOLVER.OPTIMIZER = optimizer
    train_cfg.SOLVER.AMP.ENABLED = mixed_precision
    train_cfg.SOLVER.MAX_ITER, train_cfg.SOLVER.CHECKPOINT_PERIOD, train_cfg.SOLVER.STEPS = 6, 3, (5,)
    whole = train(train_cfg)
    assert sorted(whole) == list(range(6)) and len({losses["total_loss"] for losses in whole.values()}) == 6
    train_cfg.OUTPUT_DIR = str(tmp_path / "interrupted")
    train_cfg.DATALOADER.NUM_WORKERS = 2  # must not matter
    first = train(train_cfg, stop=3)
    train_cfg.DATALOADER.NUM_WORKERS = 0
    second = train(train_cfg, resume=True)
    assert sorted(second) == [3, 4, 5]  # from the checkpoint after iteration 2
    assert first == {i: whole[i] for i in range(4)}
    assert second == {i: whole[i] for i in range(3, 6)}
    weights = [
        torch.load(tmp_path / folder / "model_final.pth", weights_only=True)["model"]
        for folder in ("output", "interrupted")
    ]
    assert all(value.equal(weights[1][name]) for name, value in weights[0].items())


def test_another_seed_gives_other_losses(train_cfg):
    train_cfg.SOLVER.MAX_ITER = 2
    first = train(train_cfg)
    train_cfg.SEED = 8
    assert train(train_cfg) != first


def test_a_training_does_not_go_on_with_another_optimizer(train_cfg):
    train_cfg.SOLVER.MAX_ITER = 2
    train(train_cfg)
    config = Path(train_cfg.OUTPUT_DIR, "config.yaml").read_text()
    train_cfg.SOLVER.MAX_ITER, train_cfg.SOLVER.OPTIMIZER = 4, "AdamW"
    with pytest.raises(
        CheckpointError, match="does not fit the config .*another optimizer than SOLVER.OPTIMIZER AdamW"
    ):
        train(train_cfg, resume=True)
    assert Path(train_cfg.OUTPUT_DIR, "config.yaml").read_text() == config


def test_resuming_a_finished_training_trains_nothing(train_cfg, caplog):
    train_cfg.SOLVER.MAX_ITER = 2
    train(train_cfg)
    assert train(train_cfg, resume=True) == {}
    assert "iteration 2 of SOLVER.MAX_ITER 2 is reached: there is nothing to train" in caplog.text


def test_a_training_is_not_resumed_to_fewer_iterations_than_it_has(train_cfg):
    train_cfg.SOLVER.MAX_ITER = 2
    train(train_cfg)
    folder = Path(train_cfg.OUTPUT_DIR)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    train_cfg.SOLVER.MAX_ITER = 1
    with pytest.raises(ValueError, match="SOLVER.MAX_ITER: expected at least 2, .* has been trained for, got 1"):
        train(train_cfg, resume=True)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_training_that_was_killed_before_its_last_file_gets_it(train_cfg):
    train_cfg.SOLVER.MAX_ITER = train_cfg.SOLVER.CHECKPOINT_PERIOD = 2
    train(train_cfg)
    folder = Path(train_cfg.OUTPUT_DIR)
    whole = torch.load(folder / "model_final.pth", weights_only=True)
    (folder / "model_final.pth").unlink()
    (folder / "last_checkpoint").write_text("model_0000001.pth")
    assert train(train_cfg, resume=True) == {}
    again = torch.load(folder / "model_final.pth", weights_only=True)
    assert again["iteration"] == whole["iteration"] == 1 and again.keys() == whole.keys()
    assert all(value.equal(again["model"][key]) for key, value in whole["model"].items())


def test_images_without_instances_train(train_cfg):
    train_cfg.SOLVER.MAX_ITER = 2
    trainer = Trainer(train_cfg)
    empty = [d for d in DatasetCatalog.get(train_cfg.DATASETS.TRAIN[0]) if not d["annotations"]]
    assert len(empty) == 1
    trainer.data_loader.dataset.dataset = empty * 6
    trainer.train()
    latest = trainer.storage.latest()
    assert latest["loss_mask"][0] == 0 and latest["total_loss"][0] > 0


def test_training_ends_with_an_evaluation_and_detectron2s_logs(tiny_cfg, caplog, monkeypatch):
    tiny_cfg.SOLVER.MAX_ITER = 4
    trainer = Trainer(tiny_cfg)
    # Set up by this trainer, by a test before, or not: only now is it known where Detectron2's lines go.
    monkeypatch.setattr(logging.getLogger("detectron2"), "propagate", True)
    trainer.resume_or_load(False)
    trainer.train()
    output = Path(tiny_cfg.OUTPUT_DIR)
    lines = [json.loads(line) for line in (output / "metrics.json").read_text().splitlines()]
    written = set().union(*lines)
    assert {"total_loss", "lr", "bbox/AP", "bbox/AP50", "segm/AP", "segm/AP75"} <= written
    assert list(output.glob("events.out.tfevents.*"))
    assert (output / "last_checkpoint").read_text() == "model_final.pth"
    assert "eta: " in caplog.text


def test_evaluation_of_the_checkpoint_gives_the_trainings_results(tiny_cfg):
    tiny_cfg.SOLVER.MAX_ITER = 2
    trainer = Trainer(tiny_cfg)
    trainer.resume_or_load(False)
    trainer.train()
    results = evaluate(tiny_cfg, resume=True)
    assert results.keys() == {"bbox", "segm"}
    for task, metrics in results.items():
        for name, value in metrics.items():
            assert value == pytest.approx(trainer._last_eval_results[task][name], nan_ok=True)


def with_other_data(cfg, tmp_path, change):
    """Evaluate on a copy of the dataset whose file was changed."""
    json_file, images = write_dataset(tmp_path / "other")
    content = json.loads(json_file.read_text())
    change(content)
    json_file.write_text(json.dumps(content))
    cfg.DATASETS.COCO = [["test_other", str(json_file), str(images)]]
    cfg.DATASETS.TEST = ("test_other",)
    register_from_config(cfg)
    return images


@pytest.fixture
def other_data():
    yield
    DatasetCatalog.remove("test_other")
    MetadataCatalog.remove("test_other")


def test_a_test_set_with_its_classes_in_another_order_is_refused(tiny_cfg, tmp_path, other_data):
    def swap(content):
        for entry in content["categories"]:
            entry["id"] = 3 - entry["id"]
        for entry in content["annotations"]:
            entry["category_id"] = 3 - entry["category_id"]

    tiny_cfg.SOLVER.MAX_ITER = 1
    trainer = Trainer(tiny_cfg)
    trainer.resume_or_load(False)
    trainer.train()
    with_other_data(tiny_cfg, tmp_path, swap)
    with pytest.raises(ValueError, match="test_other has the classes .*: the same in another order"):
        evaluate(tiny_cfg, resume=True)


def test_a_training_does_not_go_on_with_its_classes_in_another_order(train_cfg, tmp_path):
    train_cfg.SOLVER.MAX_ITER = 2
    train(train_cfg, stop=0)
    Trainer(train_cfg).checkpointer.save("model", iteration=0)
    (name,) = train_cfg.DATASETS.TRAIN
    DatasetCatalog.register("test_swapped", lambda: DatasetCatalog.get(name))
    MetadataCatalog.get("test_swapped").set(thing_classes=MetadataCatalog.get(name).thing_classes[::-1])
    train_cfg.DATASETS.TRAIN = ("test_swapped",)
    try:
        with pytest.raises(ValueError, match="test_swapped has the classes .*: the same in another order"):
            train(train_cfg, resume=True)
    finally:
        DatasetCatalog.remove("test_swapped")
        MetadataCatalog.remove("test_swapped")


def test_a_test_set_that_is_not_whole_is_told_before_the_training(tiny_cfg, tmp_path, other_data):
    images = with_other_data(tiny_cfg, tmp_path, lambda content: None)
    MetadataCatalog.get("test_other").set(thing_classes=MetadataCatalog.get(tiny_cfg.DATASETS.TRAIN[0]).thing_classes)
    (images / "0.png").unlink()
    with pytest.raises(ValueError, match="images are missing on disk; 1 is wrong"):
        Trainer(tiny_cfg)


@pytest.mark.parametrize(
    "key, value, said",
    [
        ("DATASETS.TRAIN", (), "DATASETS.TRAIN: expected the name of at least one dataset"),
        ("SOLVER.MAX_ITER", 0, "SOLVER.MAX_ITER: expected at least 1, got 0"),
        ("MODEL.ROI_HEADS.NUM_CLASSES", 1, "has 2 classes .*, the model 1: set MODEL.ROI_HEADS.NUM_CLASSES to 2"),
        ("MODEL.ROI_HEADS.NUM_CLASSES", 3, "has 2 classes .*, the model 3"),
        ("TEST.AREA_PROFILE", "vhr", "TEST.AREA_PROFILE.: expected one of"),
        ("TEST.MAX_DETS", [0], "TEST.MAX_DETS"),
        ("MODEL.LOAD_PROPOSALS", True, "MODEL.LOAD_PROPOSALS is True, but images are loaded here without proposals"),
    ],
)
def test_what_cannot_be_trained_or_evaluated_is_told_at_once(tiny_cfg, key, value, said):
    tiny_cfg.merge_from_list([key, value])
    with pytest.raises(ValueError, match=said):
        Trainer(tiny_cfg)


@pytest.mark.parametrize(
    "key, value, said",
    [
        ("MODEL.ROI_HEADS.NUM_CLASSES", 3, "has 2 classes .*, the model 3: .* needs a dataset of its own classes"),
        ("TEST.AREA_PROFILE", "vhr", "TEST.AREA_PROFILE.: expected one of"),
    ],
)
def test_what_cannot_be_evaluated_is_reported_before_the_model_is_built(tiny_cfg, monkeypatch, key, value, said):
    monkeypatch.setattr(Trainer, "build_model", lambda cfg: pytest.fail("the model was built"))
    tiny_cfg.merge_from_list([key, value])
    with pytest.raises(ValueError, match=said):
        evaluate(tiny_cfg)


def test_an_evaluation_needs_a_test_set(train_cfg):
    with pytest.raises(ValueError, match="DATASETS.TEST: expected the name of at least one dataset"):
        evaluate(train_cfg)


def test_a_mask_model_is_tested_on_boxes(tiny_cfg, tmp_path, other_data):
    def without_masks(content):
        for annotation in content["annotations"]:
            del annotation["segmentation"]

    tiny_cfg.SOLVER.MAX_ITER = 1
    with_other_data(tiny_cfg, tmp_path, without_masks)
    trainer = Trainer(tiny_cfg)
    trainer.resume_or_load(False)
    assert trainer.train().keys() == {"bbox"}
    written = read_results(Path(tiny_cfg.OUTPUT_DIR, "results.json"))["results"]
    assert written.keys() == {"test_other"} and written["test_other"].keys() == {"bbox"}


def test_training_and_evaluation_leave_out_images_that_are_cut_off(tiny_cfg, tmp_path, other_data):
    tiny_cfg.DATASETS.BAD = "skip"
    tiny_cfg.SOLVER.MAX_ITER = 2
    images = with_other_data(tiny_cfg, tmp_path, lambda content: None)
    tiny_cfg.DATASETS.TRAIN = tiny_cfg.DATASETS.TEST
    for path in sorted(images.iterdir())[:4]:  # of six
        path.write_bytes(path.read_bytes()[:500])
    try:
        trainer = Trainer(tiny_cfg)
        trainer.resume_or_load(False)
        trainer.train()
        assert evaluate(tiny_cfg, resume=True).keys() == {"bbox", "segm"}
        assert len(DatasetCatalog.get("test_other")) == 2
    finally:
        register_from_config(load_config())
    tiny_cfg.DATASETS.BAD = "strict"
    tiny_cfg.OUTPUT_DIR = str(tmp_path / "strict")
    with pytest.raises(OSError, match="cannot read image "):
        train(tiny_cfg)


def test_a_loss_that_is_no_number_stops_the_training(train_cfg):
    train_cfg.SOLVER.BASE_LR = 1e12
    trainer = Trainer(train_cfg)
    with pytest.raises(InsightError, match="diverged; try a lower SOLVER.BASE_LR"):
        trainer.train()


def test_mixed_precision_computes_in_bfloat16_on_the_cpu(train_cfg):
    train_cfg.SOLVER.AMP.ENABLED = True
    train_cfg.SOLVER.MAX_ITER = 1
    trainer = Trainer(train_cfg)
    seen = set()
    trainer.model.backbone.fpn_output2.register_forward_hook(lambda module, args, output: seen.add(output.dtype))
    trainer.train()
    assert seen == {torch.bfloat16}
    assert all(p.dtype == torch.float32 for p in trainer.model.parameters())


def test_the_evaluator_is_as_the_config_has_it(tiny_cfg, caplog):
    name = tiny_cfg.DATASETS.TEST[0]
    assert Trainer.build_evaluator(tiny_cfg, name).tasks == ("bbox", "segm")
    tiny_cfg.TEST.BOUNDARY_AP, tiny_cfg.TEST.BOUNDARY_RATIO = True, 0.01
    evaluator = Trainer.build_evaluator(tiny_cfg, name)
    assert evaluator.tasks == ("bbox", "segm", "boundary") and evaluator.boundary_ratio == 0.01
    assert not caplog.messages
    tiny_cfg.MODEL.MASK_ON = False
    assert Trainer.build_evaluator(tiny_cfg, name).tasks == ("bbox",)
    assert caplog.messages == ["TEST.BOUNDARY_AP has no effect: MODEL.MASK_ON is False, so only boxes are evaluated"]
