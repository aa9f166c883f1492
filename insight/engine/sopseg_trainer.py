"""The trainer of SOPSeg."""

from collections.abc import Sequence

import torch
from detectron2.config import CfgNode
from detectron2.data import build_detection_test_loader
from detectron2.evaluation import DatasetEvaluator

from insight.data.datasets.coco import require_same_classes
from insight.data.mappers.sopseg import SOPSegMapper, one_object_each
from insight.evaluation.prompted_evaluator import PromptedEvaluator

from .optimizer import build_optimizer
from .step import mixed_precision_dtype
from .stream import build_train_loader
from .trainer import Trainer


class SOPSegTrainer(Trainer):
    """Train and evaluate SOPSeg.

    With MODEL.SOPSEG.MAGNIFY, a sample is an object: SOLVER.IMS_PER_BATCH counts objects, and DATALOADER's sampler
    draws objects, so that RepeatFactorTrainingSampler balances the classes. Otherwise a sample is an image.

    Args:
        cfg: the config.
    """

    @classmethod
    def check_classes(cls, cfg: CfgNode, names: Sequence[str], trained: Sequence[str] = ()) -> None:
        """Check that training sets have the same classes, which balance the draws; SOPSeg predicts no classes."""
        require_same_classes([name for name in names if name in cfg.DATASETS.TRAIN])

    @classmethod
    def build_optimizer(cls, cfg: CfgNode, model: torch.nn.Module) -> torch.optim.Optimizer:
        """Build the optimizer, with MODEL.SOPSEG.SCRATCH_LR_FACTOR on the rate of layers that SAM does not have."""
        scratch = (
            *(f"mask_decoder.{name}." for name in model.mask_decoder.FROM_SCRATCH),
            "prompt_encoder.angle_embed.",
        )
        factor = cfg.MODEL.SOPSEG.SCRATCH_LR_FACTOR
        return build_optimizer(cfg, model, lr_factor=lambda name: factor if name.startswith(scratch) else 1.0)

    @classmethod
    def build_train_loader(cls, cfg: CfgNode, seed: int = 0) -> torch.utils.data.DataLoader:
        """Build the training loader; see `insight.engine.stream.build_train_loader`."""
        split = one_object_each if cfg.MODEL.SOPSEG.MAGNIFY else None
        return build_train_loader(cfg, SOPSegMapper(cfg, is_train=True), seed, split=split)

    @classmethod
    def build_test_loader(cls, cfg: CfgNode, dataset_name: str) -> torch.utils.data.DataLoader:
        """Build a loader of a test set's images with the prompts of their objects."""
        return build_detection_test_loader(cfg, dataset_name, mapper=SOPSegMapper(cfg, is_train=False))

    @classmethod
    def validation_period(cls, cfg: CfgNode, samples: int) -> int:
        """Return 0: SOPSeg is evaluated as TEST.EVAL_PERIOD says, and its last model is the one to use."""
        return 0

    @classmethod
    def test(cls, cfg: CfgNode, model: torch.nn.Module, evaluators: list[DatasetEvaluator] | None = None) -> dict:
        """Evaluate as Detectron2, in the precision of the training."""
        device = torch.device(cfg.MODEL.DEVICE)
        with torch.autocast(device.type, mixed_precision_dtype(device), enabled=cfg.SOLVER.AMP.ENABLED):
            return super().test(cfg, model, evaluators)

    @classmethod
    def build_evaluator(cls, cfg: CfgNode, dataset_name: str) -> DatasetEvaluator:
        """Build the evaluator of IoU and boundary IoU with the ground-truth masks."""
        return PromptedEvaluator(dataset_name, output_dir=f"{cfg.OUTPUT_DIR}/inference")
