"""The predictor of a config. Needs Detectron2, whose configs these are."""

from typing import TYPE_CHECKING

from detectron2.config import CfgNode
from detectron2.modeling import META_ARCH_REGISTRY

from insight.errors import InputError
from insight.modeling.sopseg import SOPSeg

from .sopseg_predictor import SOPSegPredictor

if TYPE_CHECKING:
    from .predictor import PromptPredictor


def build_predictor(cfg: CfgNode) -> "PromptPredictor | SOPSegPredictor":
    """Load the model of a config.

    Args:
        cfg: the config; MODEL.WEIGHTS is the checkpoint.

    Returns:
        A `SOPSegPredictor` for SOPSeg, a `PromptPredictor` for a detector.

    Raises:
        OSError: the weights cannot be read.
        InsightError: they do not fit, or the config cannot be used.
    """
    if not is_sopseg(cfg):
        from .predictor import PromptPredictor

        return PromptPredictor(cfg)
    if not cfg.MODEL.WEIGHTS:
        raise InputError("MODEL.WEIGHTS is empty: expected a checkpoint of SOPSeg or SAM")
    keys = cfg.MODEL.SOPSEG
    return SOPSegPredictor(
        cfg.MODEL.WEIGHTS,
        encoder=keys.ENCODER,
        decoder=keys.DECODER,
        input_size=keys.INPUT_SIZE,
        magnify=keys.MAGNIFY,
        shared_crops=keys.SHARED_CROPS,
        device=cfg.MODEL.DEVICE,
    )


def is_sopseg(cfg: CfgNode) -> bool:
    """Whether a config's model is SOPSeg, which answers prompts and detects nothing.

    Args:
        cfg: the config.

    Returns:
        True for SOPSeg, False for a detector.

    Raises:
        InputError: MODEL.META_ARCHITECTURE is unknown.
    """
    name = cfg.MODEL.META_ARCHITECTURE
    if name not in META_ARCH_REGISTRY:
        raise InputError(f"MODEL.META_ARCHITECTURE: unknown model {name!r}")
    return issubclass(META_ARCH_REGISTRY.get(name), SOPSeg)
