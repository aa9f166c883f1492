"""Copying a model into the cache, where a plain name finds it."""

import os
import shutil
from pathlib import Path

from insight.errors import InputError
from insight.runtime.atomic_files import atomic_write

from .finding import PLAIN_NAME, cache_folder, find
from .model_folder import CARD, CONFIG, ModelFolder, read_model


def fetch(name_or_folder: str | os.PathLike, name: str | None = None) -> ModelFolder:
    """Copy a model into the cache.

    Args:
        name_or_folder: owner/name on the Hugging Face hub, or a model folder; see `find`.
        name: name in the cache; default: what the model calls itself.

    Returns:
        The model in the cache. It replaces one of the same name.

    Raises:
        InsightError: there is no such model, it is damaged, or its name is not a plain one.
        OSError: the cache cannot be written to.
    """
    model = find(name_or_folder)
    name = name or model.name
    if not PLAIN_NAME.fullmatch(name):
        raise InputError(f"name: expected letters, digits, dots, dashes and underscores, got {name!r:.80}")
    weights, target = model.weights, cache_folder() / name
    if target.resolve() == model.path.resolve():
        return model
    (target / CONFIG).unlink(missing_ok=True)  # the copy comes last, when all of it is there
    for source in (weights, model.path / CARD, model.path / CONFIG):
        if source.is_file():
            _copy(source, target / source.name)
    return read_model(target)


def _copy(source: Path, target: Path) -> None:
    with open(source, "rb") as reading, atomic_write(target, "wb") as writing:
        shutil.copyfileobj(reading, writing)
