"""Training and evaluation of the model of a config."""

from pathlib import Path

import torch
from detectron2.config import CfgNode
from detectron2.utils import comm

from insight.config import is_sopseg
from insight.errors import InputError
from insight.modeling.checkpointer import Checkpointer
from insight.runtime.machine import describe_machine

from .results import RESULTS, by_dataset, config_digest, write_config, write_results
from .sopseg_trainer import SOPSegTrainer
from .trainer import Trainer


def trainer_class(cfg: CfgNode) -> type[Trainer]:
    """Return the trainer class for the MODEL.META_ARCHITECTURE of a config.

    Args:
        cfg: the config.
    """
    return SOPSegTrainer if is_sopseg(cfg) else Trainer


def train(cfg: CfgNode, resume: bool = False) -> dict:
    """Train, and evaluate on DATASETS.TEST.

    Args:
        cfg: the config; OUTPUT_DIR gets checkpoints, logs, config.yaml and results.json.
        resume: continue from the last checkpoint in OUTPUT_DIR, if any, instead of starting from MODEL.WEIGHTS.

    Returns:
        The results, as `Trainer.test` returns them.
    """
    trainer = trainer_class(cfg)(cfg)
    trainer.resume_or_load(resume=resume)
    return trainer.train()


def evaluate(cfg: CfgNode, resume: bool = False) -> dict:
    """Evaluate a checkpoint on DATASETS.TEST, and write the results to OUTPUT_DIR/results.json.

    Args:
        cfg: the config; MODEL.WEIGHTS is the checkpoint. Plain SAM (`is_sam`) needs none, as
            MODEL.SOPSEG.WEIGHTS holds all its weights.
        resume: evaluate the last checkpoint in OUTPUT_DIR instead, if any.

    Returns:
        The results, as `Trainer.test` returns them.

    Raises:
        CheckpointError: the checkpoint is missing, lacks a parameter of the model, or has one of another shape.
        InputError: there is no test dataset, or its classes differ from the model's; or invalid TEST keys.
        OSError: a dataset or one of its images is missing.
    """
    require_test_sets(cfg)
    trainer = trainer_class(cfg)
    trainer.check_evaluation(cfg)
    model = trainer.build_model(cfg)
    loaded = {}
    if not is_sam(cfg) or cfg.MODEL.WEIGHTS or resume:
        loaded = Checkpointer(model, cfg.OUTPUT_DIR, exact=True).resume_or_load(cfg.MODEL.WEIGHTS, resume=resume)
    trainer.check_classes(cfg, cfg.DATASETS.TEST, loaded.get("trainer", {}).get("class_names") or ())
    if comm.is_main_process():
        write_config(cfg, evaluation=True)
    made = describe_machine(torch.device(cfg.MODEL.DEVICE))
    results = trainer.test(cfg, model)
    if comm.is_main_process():
        write_results(
            Path(cfg.OUTPUT_DIR, RESULTS),
            by_dataset(cfg, results),
            config=config_digest(cfg),
            iteration=loaded["iteration"] + 1 if "iteration" in loaded else None,
            made=made,
        )
    return results


def require_test_sets(cfg: CfgNode) -> None:
    """Check that there is a dataset to evaluate on.

    Args:
        cfg: the config.

    Raises:
        InputError: DATASETS.TEST is empty.
    """
    if not cfg.DATASETS.TEST:
        raise InputError("DATASETS.TEST: expected the name of at least one dataset, got none")


def is_sam(cfg: CfgNode) -> bool:
    """Return whether a config describes plain SAM, whose weights are all in MODEL.SOPSEG.WEIGHTS.

    Args:
        cfg: the config.
    """
    keys = cfg.MODEL.SOPSEG
    return is_sopseg(cfg) and keys.DECODER == "sam" and bool(keys.WEIGHTS)
