"""Validation during training: when, on which images, and which checkpoint is the best."""

import json
import math
from pathlib import Path

import pytest
import torch
from detectron2.data import DatasetCatalog

from insight.engine import Trainer
from insight.engine.validation import score_of, validation_subset
from insight.errors import InputError


def test_the_score_is_of_masks_where_there_are_any():
    masks, boxes = {"segm": {"AP": 30.0}, "bbox": {"AP": 90.0}}, {"bbox": {"AP": 50.0}}
    assert score_of({"a": masks, "b": boxes}) == 40
    assert score_of({"a": {"segm": {"AP": math.nan}}, "b": boxes}) == 50
    assert math.isnan(score_of({})) and math.isnan(score_of({"a": {}}))


def test_the_subset_is_the_same_in_every_run(tiny_cfg):
    Trainer(tiny_cfg)  # registers
    name = tiny_cfg.DATASETS.TEST[0]
    everything = DatasetCatalog.get(name)
    ids = [entry["image_id"] for entry in validation_subset(name, 2)]
    assert len(ids) == 2 and ids == [entry["image_id"] for entry in validation_subset(name, 2)]
    assert validation_subset(name, 1000) == everything


def test_the_best_checkpoint_is_kept_beside_the_latest(tiny_cfg, monkeypatch):
    tiny_cfg.SOLVER.MAX_ITER, tiny_cfg.SOLVER.CHECKPOINT_PERIOD, tiny_cfg.SOLVER.CHECKPOINTS_TO_KEEP = 8, 1, 2
    tiny_cfg.TEST.EVAL_PERIOD = 0
    scores, asked = iter([10.0, 30.0, 20.0, 5.0, 1.0, 0.5, 0.2]), []
    monkeypatch.setattr(Trainer, "validation_period", lambda *_: 1)
    monkeypatch.setattr(Trainer, "test", lambda *_: {})
    monkeypatch.setattr(Trainer, "validate", lambda *_: asked.append(1) or {"data": {"segm": {"AP": next(scores)}}})
    Trainer(tiny_cfg).train()
    folder = Path(tiny_cfg.OUTPUT_DIR)
    assert len(asked) == 7, "the last iteration is left to the final evaluation"
    assert json.loads((folder / "model_best.json").read_text()) == {"score": 30.0, "iteration": 1}
    assert torch.load(folder / "model_best.pth", weights_only=True)["iteration"] == 1
    assert sorted(path.name for path in folder.glob("model_0*.pth")) == ["model_0000006.pth", "model_0000007.pth"]
    assert (folder / "last_checkpoint").read_text() == "model_final.pth"
    # A training that goes on knows the best of before.
    (folder / "last_checkpoint").write_text("model_0000006.pth")
    tiny_cfg.SOLVER.MAX_ITER = 10
    scores = iter([25.0, 40.0])
    trainer = Trainer(tiny_cfg)
    trainer.resume_or_load(resume=True)
    trainer.train()
    assert json.loads((folder / "model_best.json").read_text()) == {"score": 40.0, "iteration": 8}
    assert len(list(folder.glob("model_0*.pth"))) == 2
    (folder / "model_best.json").write_text("[]")
    (folder / "last_checkpoint").write_text("model_0000009.pth")
    tiny_cfg.SOLVER.MAX_ITER = 11
    trainer = Trainer(tiny_cfg)
    trainer.resume_or_load(resume=True)
    with pytest.raises(InputError, match="expected the score of model_best.pth"):
        trainer.train()


def test_a_new_training_removes_no_checkpoint_of_another(tiny_cfg, monkeypatch):
    tiny_cfg.SOLVER.MAX_ITER, tiny_cfg.SOLVER.CHECKPOINT_PERIOD, tiny_cfg.SOLVER.CHECKPOINTS_TO_KEEP = 3, 1, 1
    tiny_cfg.TEST.EVAL_PERIOD = tiny_cfg.TEST.VALIDATION_IMAGES = 0
    monkeypatch.setattr(Trainer, "test", lambda *_: {})
    other = Path(tiny_cfg.OUTPUT_DIR, "model_0079999.pth")
    other.parent.mkdir(parents=True)
    other.write_bytes(b"of another training")
    trainer = Trainer(tiny_cfg)
    trainer.resume_or_load(resume=False)
    trainer.train()
    assert sorted(path.name for path in other.parent.glob("model_0*.pth")) == ["model_0000002.pth", other.name]


def test_a_validation_measures_its_images_only(tiny_cfg):
    tiny_cfg.TEST.VALIDATION_IMAGES = 2
    trainer = Trainer(tiny_cfg)
    name = tiny_cfg.DATASETS.TEST[0]
    chosen = {entry["image_id"] for entry in validation_subset(name, 2)}
    seen = []
    build = Trainer.build_evaluator

    def recorded(cfg, dataset):
        evaluator = build(cfg, dataset)
        truth = evaluator._ground_truth

        def ground_truth():
            content, names, ids = truth()
            seen.append({image["id"] for image in content["images"]})
            return content, names, ids

        evaluator._ground_truth = ground_truth
        return evaluator

    Trainer.build_evaluator, kept = staticmethod(recorded), Trainer.__dict__["build_evaluator"]
    try:
        results = Trainer.validate(trainer.cfg, trainer.model)
    finally:
        Trainer.build_evaluator = kept
    assert seen == [chosen] and {"bbox", "segm"} <= set(results[name])
    assert not any(getattr(module, "rle_masks", False) for module in trainer.model.modules())
