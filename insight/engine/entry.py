"""The trainer of a config, and the evaluation of a checkpoint."""

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
    """Choose the trainer for a config's model, by MODEL.META_ARCHITECTURE.

    Args:
        cfg: the config.

    Returns:
        `SOPSegTrainer` or `Trainer`.
    """
    return SOPSegTrainer if is_sopseg(cfg) else Trainer


def evaluate(cfg: CfgNode, resume: bool = False) -> dict:
    """Evaluate a checkpoint on DATASETS.TEST and write the results to OUTPUT_DIR/results.json.

    Args:
        cfg: the config; MODEL.WEIGHTS is the checkpoint. It may be empty for SAM (`is_sam`), all of whose weights are
            in MODEL.SOPSEG.WEIGHTS.
        resume: take OUTPUT_DIR's last checkpoint instead, if there is one.

    Returns:
        The results, as `Trainer.test` returns them.

    Raises:
        CheckpointError: there is no checkpoint, or it does not fit the model in every parameter.
        InputError: no test set, or one with other classes than the model's.
    """
    require_test_sets(cfg)
    trainer = trainer_class(cfg)
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
    """Check that a config names a test set.

    Args:
        cfg: the config.

    Raises:
        InputError: DATASETS.TEST is empty.
    """
    if not cfg.DATASETS.TEST:
        raise InputError("DATASETS.TEST is empty: expected the names of registered datasets")


def is_sam(cfg: CfgNode) -> bool:
    """Whether a config describes plain SAM, all of whose weights are in MODEL.SOPSEG.WEIGHTS.

    Args:
        cfg: the config.
    """
    keys = cfg.MODEL.SOPSEG
    return is_sopseg(cfg) and keys.DECODER == "sam" and bool(keys.WEIGHTS)
