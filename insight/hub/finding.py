"""Finding a model by its name: a folder, what ships with the package, the cache, or the Hugging Face hub."""

import difflib
import os
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from .download import download
from .model_folder import CONFIG, ModelError, ModelFolder, read_model

DEFAULT_SOPSEG, DEFAULT_DETECTOR = "sopseg-vit-t", "scenes-light"
SHIPPED = Path(__file__).resolve().parent / "models"
PLAIN_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")
_REMOTE = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_WEIGHT_SUFFIXES = (".pth", ".pt", ".pkl", ".pyth", ".safetensors")


class KnownModel(NamedTuple):
    """A model that can be found by a plain name.

    Attributes:
        name: the name that finds it.
        where: "shipped" or "cache".
        path: its folder.
    """

    name: str
    where: str
    path: Path


def cache_folder() -> Path:
    """Return the folder of cached models.

    Returns:
        models/ in INSIGHT_CACHE if that is set; else in insight/ in the user's cache folder (XDG_CACHE_HOME, or
        ~/.cache).
    """
    named = os.environ.get("INSIGHT_CACHE")
    root = Path(named).expanduser() if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return (root if named else root / "insight") / "models"


def known_models() -> list[KnownModel]:
    """List the models that plain names find: those that ship with the package, then those of the cache."""
    found: dict[str, KnownModel] = {}
    for where, folder in (("shipped", SHIPPED), ("cache", cache_folder())):
        for path in _folders_with_config(folder):
            found.setdefault(path.name, KnownModel(path.name, where, path))
    return list(found.values())


def find(name_or_folder: "str | os.PathLike | ModelFolder") -> ModelFolder:
    """Find a model.

    A plain name finds what ships with the package, then a folder of this name, then the cache. Anything with a
    separator is a path; if there is no such folder and it has the form owner/name, it is taken from the Hugging Face
    hub, which needs the package huggingface_hub (the extra `hub`) and heeds HF_HUB_OFFLINE.

    Args:
        name_or_folder: the name or the folder; a `ModelFolder` is returned as it is.

    Returns:
        The model. Its weights are not read yet.

    Raises:
        ModelError: an unknown name, or a folder that holds no model of insight.
        MissingDependencyError: the Hugging Face hub is needed, and huggingface_hub is not installed.
    """
    if isinstance(name_or_folder, ModelFolder):
        return name_or_folder
    text = os.fspath(name_or_folder)
    path = Path(text).expanduser()
    if is_weight_file(text):
        raise ModelError(f"{text}: is a weight file; expected the name or the folder of a model")
    known = {model.name: model for model in known_models()}
    if text in known and known[text].where == "shipped":
        return read_model(known[text].path)
    if text and path.is_dir():
        return read_model(path)
    if text in known:
        return read_model(known[text].path)
    if isinstance(name_or_folder, str) and _REMOTE.fullmatch(text):
        return read_model(download(text))
    if not PLAIN_NAME.fullmatch(text):
        raise ModelError(f"{text:.200}: no such model folder" if text else "expected the name of a model, got nothing")
    raise ModelError(f"{text:.100}: unknown model; {_advice(text, list(known))}")


def detector_works() -> bool:
    """Return whether the default detector is here, and the packages that it needs."""
    here = DEFAULT_DETECTOR in {model.name for model in known_models()}
    return here and all(map(find_spec, ("detectron2", "timm")))


def is_weight_file(name: "str | os.PathLike") -> bool:
    """Return whether a name means a weight file, by its suffix or because there is such a file."""
    return os.path.isfile(name) or os.fspath(name).lower().endswith(_WEIGHT_SUFFIXES)


def _folders_with_config(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in sorted(folder.iterdir()) if (path / CONFIG).is_file())


def _advice(name: str, known: list[str]) -> str:
    if not known:
        return "there are no models here, neither shipped nor in the cache; give a folder, or owner/name"
    near = difflib.get_close_matches(name, known, 1)
    start = f"did you mean {near[0]}? There" if near else "there"
    return f"{start} are {', '.join(known)}; a folder has a separator, as in ./{name:.50}"
