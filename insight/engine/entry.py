"""What a config asks for: its trainer, and its evaluation."""

from detectron2.config import CfgNode

from insight.checkpoint import Checkpointer

from .sopseg_trainer import SOPSegTrainer
from .trainer import Trainer


def trainer_class(cfg: CfgNode) -> type[Trainer]:
    """The trainer for a config's model.

    Args:
        cfg: the config; MODEL.META_ARCHITECTURE decides.

    Returns:
        The class.
    """
    return SOPSegTrainer if cfg.MODEL.META_ARCHITECTURE == "SOPSEG" else Trainer


def evaluate(cfg: CfgNode, resume: bool = False) -> dict:
    """Evaluate a checkpoint on DATASETS.TEST.

    Args:
        cfg: the config; MODEL.WEIGHTS is the checkpoint.
        resume: take OUTPUT_DIR's last checkpoint instead, if there is one.

    Returns:
        The results, as `Trainer.test` gives them.

    Raises:
        CheckpointError: there is no checkpoint, or it does not fit the model in every parameter.
    """
    trainer = trainer_class(cfg)
    model = trainer.build_model(cfg)
    Checkpointer(model, cfg.OUTPUT_DIR, exact=True).resume_or_load(cfg.MODEL.WEIGHTS, resume=resume)
    return trainer.test(cfg, model)
