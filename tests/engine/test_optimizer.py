"""The optimizer, against Detectron2's, and who learns faster."""

import pytest
from detectron2 import solver
from helpers.tiny_prompt_rcnn import build, make_tiny_config

from insight.engine import Trainer
from insight.engine.optimizer import build_optimizer
from insight.modeling.prompt import PromptPooler


def settings(optimizer):
    """What each parameter is trained with, by its place in memory; the kind first."""
    groups = {
        p.data_ptr(): {k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups for p in g["params"]
    }
    return type(optimizer).__name__, groups


def test_sgd_is_detectron2s():
    cfg = make_tiny_config()
    cfg.SOLVER.BIAS_LR_FACTOR, cfg.SOLVER.WEIGHT_DECAY_NORM, cfg.SOLVER.CLIP_GRADIENTS.ENABLED = 2.0, 0.01, True
    model = build(cfg)
    assert settings(build_optimizer(cfg, model)) == settings(solver.build_optimizer(cfg, model))


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
@pytest.mark.parametrize("file, poolers", [("insight", 2), ("cascade", 2)])
def test_the_projections_of_prompts_learn_faster(optimizer, file, poolers):
    files = ["base/insight.yaml"] + (["base/cascade.yaml"] if file == "cascade" else [])
    cfg = make_tiny_config(*files, SOLVER__OPTIMIZER=optimizer, MODEL__PROMPT__PROJECTION_LR_FACTOR=10.0)
    model = build(cfg)
    _, groups = settings(Trainer.build_optimizer(cfg, model))
    names = {p.data_ptr(): name for name, p in model.named_parameters() if p.requires_grad}
    faster = {names[p] for p, group in groups.items() if group["lr"] == pytest.approx(10 * cfg.SOLVER.BASE_LR)}
    pooled = [m for m in model.modules() if isinstance(m, PromptPooler)]
    projections = {names[layer.weight.data_ptr()] for pooler in pooled for layer in pooler.fusion}
    assert faster == projections and len(faster) == 2 * poolers  # LPM and GPM, in each branch
    assert all(group["lr"] == cfg.SOLVER.BASE_LR for p, group in groups.items() if names[p] not in faster)
