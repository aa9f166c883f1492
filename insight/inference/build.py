"""Building the predictor of a config or of a model by name."""

import os
from typing import TYPE_CHECKING, Any, Unpack

from insight.config import is_sopseg
from insight.errors import InputError
from insight.hub import ModelFolder, find

from .keywords import LoadKeywords
from .sopseg_predictor import SOPSegPredictor

if TYPE_CHECKING:
    import torch
    from detectron2.config import CfgNode

    from .predictor import PromptPredictor


def load(
    name_or_folder: str | os.PathLike | ModelFolder,
    device: "str | torch.device | None" = None,
    **options: Unpack[LoadKeywords],
) -> "PromptPredictor | SOPSegPredictor":
    """Load a model by its name, or from a folder.

    Args:
        name_or_folder: a model that ships with the package or is in the cache, a model folder, or owner/name on the
            Hugging Face hub; see `insight.hub.find`.
        device: device to compute on; None for a GPU if there is one.
        options: arguments of the model's predictor: of `SOPSegPredictor.from_pretrained` or
            `PromptPredictor.from_pretrained`.

    Returns:
        A `SOPSegPredictor` for SOPSeg, a `PromptPredictor`, which needs Detectron2, for a detector.

    Raises:
        InsightError: an unknown name, or a damaged model.
        TypeError: an option that this predictor does not take.
    """
    keywords: Any = options  # of either predictor, which refuses those of the other
    model = find(name_or_folder)
    if model.kind == "sopseg":
        return SOPSegPredictor.from_pretrained(model, device, **keywords)
    from .predictor import PromptPredictor

    return PromptPredictor.from_pretrained(model, device, **keywords)


def build_predictor(cfg: "CfgNode") -> "PromptPredictor | SOPSegPredictor":
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
