"""Writing a model folder."""

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from insight.checkpoint import require_finite
from insight.errors import InputError
from insight.runtime.atomic_files import atomic_write
from insight.runtime.digests import file_digest
from insight.runtime.json_values import plain
from insight.version import __version__

from .cards import model_card
from .model_folder import CARD, CONFIG, FORMAT, FORMAT_VERSION, WEIGHTS, ModelFolder, read_model

_SMALL = 4096  # values; smaller tensors take no room, and statistics and position tables lose the most by rounding


def write_model(model: ModelFolder, weights: Mapping[str, Tensor], half: bool = True) -> ModelFolder:
    """Write a model folder; `config.json` comes last, so that a folder with one is complete.

    Args:
        model: what to write; `path` is the folder, `sha256` is taken from the weights.
        weights: tensors by name.
        half: store large tensors in float16, as far as they fit its range; small ones stay as they are.

    Returns:
        The model as it is read back.

    Raises:
        InputError: the folder holds something other than a model, or the weights are not finite.
        OSError: the folder cannot be written to.
    """
    folder = model.path
    _require_replaceable(folder)
    require_finite(weights, model.name)
    stored = {name: _stored(tensor, half) for name, tensor in weights.items()}
    metadata = {"format": "pt"}
    if model.class_names:
        metadata["class_names"] = json.dumps(model.class_names)
    (folder / CONFIG).unlink(missing_ok=True)
    with atomic_write(folder / WEIGHTS, "wb") as file:
        file.write(save(stored, metadata))
    model = dataclasses.replace(model, sha256=file_digest(folder / WEIGHTS))
    with atomic_write(folder / CARD) as file:
        file.write(model_card(model, sum(tensor.numel() for tensor in stored.values())))
    with atomic_write(folder / CONFIG) as file:
        json.dump(plain(_content(model, stored)), file, indent=1)
        file.write("\n")
    return read_model(folder)


def _stored(tensor: Tensor, half: bool) -> Tensor:
    tensor = tensor.detach().cpu()
    if half and tensor.dtype == torch.float32 and tensor.numel() >= _SMALL:
        smaller = tensor.half()
        if smaller.isfinite().all():
            tensor = smaller
    return tensor.clone(memory_format=torch.contiguous_format)  # no memory is shared, which safetensors refuses


def _content(model: ModelFolder, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    content: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "insight": __version__,
        "name": model.name,
        "kind": model.kind,
        "license": model.license,
    }
    if model.architecture is not None:
        content["architecture"] = dataclasses.asdict(model.architecture)
    else:
        content |= {
            "config": model.config,
            "class_names": list(model.class_names),
            "score_threshold": model.score_threshold,
        }
    halves = any(tensor.dtype == torch.float16 for tensor in weights.values())
    return content | {
        "gsd": None if model.gsd is None else list(model.gsd),
        "weights": {
            "sha256": model.sha256,
            "dtype": "float16" if halves else "float32",
            "parameters": sum(tensor.numel() for tensor in weights.values()),
        },
        "metrics": model.metrics,
        "training": model.training,
    }


def _require_replaceable(folder: Path) -> None:
    if folder.is_dir():
        strays = [
            name
            for name in sorted(os.listdir(folder))
            if name not in (CONFIG, WEIGHTS, CARD) and not name.startswith(".")
        ]
        if strays:
            raise InputError(f"{folder}: expected a new or empty folder, or a model to replace; it holds {strays[0]}")
        if (folder / CONFIG).is_file():
            read_model(folder)  # not the config of another library
