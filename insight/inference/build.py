"""Building the predictor of a config. Needs Detectron2."""

from typing import TYPE_CHECKING

from detectron2.config import CfgNode

from insight.config import is_sopseg
from insight.errors import InputError

from .sopseg_predictor import SOPSegPredictor

if TYPE_CHECKING:
    from .predictor import PromptPredictor


def build_predictor(cfg: CfgNode) -> "PromptPredictor | SOPSegPredictor":
    """Build the predictor for a config and load its checkpoint.

    Args:
        cfg: the config; MODEL.WEIGHTS is the checkpoint.

    Returns:
        A `SOPSegPredictor` for SOPSeg, a `PromptPredictor` for a detector.

    Raises:
        OSError: the weights cannot be read.
        InsightError: the weights do not fit the model, or the config cannot be used.
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
        prompt=None if keys.PROMPT == "min_area_rect" else keys.PROMPT,  # the default says nothing of the checkpoint
        shared_crops=keys.SHARED_CROPS,
        device=cfg.MODEL.DEVICE,
    )
