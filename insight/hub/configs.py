"""The Detectron2 config of a model folder. Needs Detectron2."""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open

from insight.config import ConfigPart, load_config

from .model_folder import CONFIG, ModelFolder

if TYPE_CHECKING:
    from detectron2.config import CfgNode


def model_config(model: ModelFolder, overrides: Sequence[Any] = ()) -> "CfgNode":
    """Load the config of a model, with its weights and with a GPU as the device if there is one.

    Args:
        model: the model.
        overrides: KEY, VALUE, KEY, VALUE, ...

    Returns:
        The frozen config.

    Raises:
        InsightError: the weights are damaged, or a key or a value is not one of this version.
    """
    return load_config((), overrides, config_part(model))


def config_part(model: ModelFolder) -> ConfigPart:
    """Return the config of a model as `load_config` takes it for `start`. Its weights are checked.

    Args:
        model: the model.

    Raises:
        ModelError: the weights are missing or damaged.
    """
    content = copy.deepcopy(model.config)
    section = content.setdefault("MODEL", {})
    section["WEIGHTS"] = str(model.weights)
    if model.architecture is not None:
        keys = model.architecture
        with safe_open(section["WEIGHTS"], "pt") as weights:
            has_angles = "prompt_encoder.angle_embed.weight" in weights.keys()  # noqa: SIM118 (it is no mapping)
        section["META_ARCHITECTURE"] = "SOPSegMetaArch"
        section["SOPSEG"] = {
            "ENCODER": keys.encoder,
            "DECODER": keys.decoder,
            "INPUT_SIZE": keys.input_size,
            "PROMPT": "min_area_rect" if keys.prompt == "oriented_box" else "box",
            "MAGNIFY": keys.magnify,
            "PROMPT_FORM": "tokens" if has_angles else "points",
        }
        content["INPUT"] = {"FORMAT": "RGB"}
    section["DEVICE"] = "cuda" if torch.cuda.is_available() else "cpu"
    return ConfigPart(model.path / CONFIG, content)
