"""Detectron2's own trainer and predictor, which know nothing of insight, run the whole prompt model."""

from pathlib import Path

import numpy as np
from detectron2.engine import DefaultPredictor, DefaultTrainer


def test_default_trainer_and_default_predictor(prompted_cfg):
    prompted_cfg.SOLVER.MAX_ITER = 2
    prompted_cfg.DATASETS.TEST = ()
    trainer = DefaultTrainer(prompted_cfg)
    trainer.resume_or_load(resume=False)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items() if ".fusion." in name}
    trainer.train()
    assert trainer.storage.latest()["loss_rpn_area"][0] >= 0
    trained = trainer.model.state_dict()
    assert before and not any(value.equal(trained[name]) for name, value in before.items())

    prompted_cfg.MODEL.WEIGHTS = str(Path(prompted_cfg.OUTPUT_DIR, "model_final.pth"))
    predictor = DefaultPredictor(prompted_cfg)
    assert all(value.equal(trained[name]) for name, value in predictor.model.state_dict().items())
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    found = predictor(image)["instances"]
    assert len(found) > 0 and found.pred_masks.shape == (len(found), 60, 90)
    assert found.scores.isfinite().all()
