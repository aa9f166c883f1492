"""A model as a folder: config.json, model.safetensors and a model card."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from insight.errors import InputError
from insight.runtime.digests import file_digest
from insight.runtime.json_values import parse_json

CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"
FORMAT, FORMAT_VERSION = "insight-model", 1
KINDS = ("sopseg", "detector")
SECTIONS = ("MODEL", "INPUT", "DATASETS", "TEST")  # of a detector's config; the rest is about training
_MAX_BYTES = 1 << 20  # of config.json
_FOREIGN = {
    "transformers": ("transformers_version", "architectures", "model_type"),
    "diffusers": ("_class_name", "_diffusers_version"),
    "timm": ("pretrained_cfg",),
}


class ModelError(InputError):
    """A folder that is not a model of insight, or one that is damaged."""


@dataclass(frozen=True)
class SOPSegArchitecture:
    """What a SOPSeg model is besides its weights.

    Attributes:
        encoder: "vit_t", "vit_b", "vit_l" or "vit_h".
        decoder: "sam", "hq", "matting", "edge" or "fine".
        input_size: side of the crops, pixels.
        prompt: form of oriented boxes, "oriented_box" or "box".
        magnify: whether each object is segmented in a crop around it.
    """

    encoder: str
    decoder: str
    input_size: int = 256
    prompt: str = "oriented_box"
    magnify: bool = True


@dataclass(frozen=True)
class ModelFolder:
    """A model in a folder.

    Attributes:
        path: the folder.
        name: what the model calls itself.
        kind: "sopseg" or "detector".
        sha256: of the weights.
        architecture: of SOPSeg; None for a detector.
        config: of a detector: the config keys in which it differs from the defaults, by section; else empty.
        class_names: of a detector, in the order of its outputs; else empty.
        score_threshold: of a detector, the lowest score of a detection to show, 0 to 1.
        gsd: smallest and largest ground sample distance of the training images, metres per pixel, if known.
        license: SPDX identifier in lower case, as on the Hugging Face hub, such as "apache-2.0".
        metrics: {dataset: {task: {metric: value}}}.
        training: how it was trained: data, start, steps, seed, commit, command and more, as far as known.
    """

    path: Path
    name: str
    kind: str
    sha256: str
    architecture: SOPSegArchitecture | None = None
    config: dict[str, Any] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    score_threshold: float = 0.5
    gsd: tuple[float, float] | None = None
    license: str = "unknown"
    metrics: dict[str, dict[str, dict[str, float | None]]] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Size of the weights, bytes."""
        return (self.path / WEIGHTS).stat().st_size

    @property
    def weights(self) -> Path:
        """The weight file, whose digest is checked here.

        Raises:
            ModelError: the file is missing, or differs from the one that config.json describes.
            OSError: it cannot be read.
        """
        path = self.path / WEIGHTS
        if not path.is_file():
            raise ModelError(f"{path}: no such file; the model is incomplete, get it again")
        found = file_digest(path)
        if found != self.sha256:
            raise ModelError(
                f"{path}: damaged or changed: expected the sha256 {self.sha256[:16]}... of {CONFIG}, got "
                f"{found[:16]}...; get the model again"
            )
        return path

    def require_kind(self, kind: str) -> None:
        """Check what kind of model this is.

        Args:
            kind: "sopseg" or "detector".

        Raises:
            ModelError: it is of the other kind; the message names the class that loads it.
        """
        if self.kind != kind:
            names = {"sopseg": "a SOPSeg model", "detector": "a detector"}
            loads = {"sopseg": "SOPSegPredictor", "detector": "PromptPredictor"}[self.kind]
            raise ModelError(
                f"{self.name}: expected {names[kind]}, got {names[self.kind]}, which {loads}.from_pretrained loads"
            )


def read_model(folder: str | os.PathLike) -> ModelFolder:
    """Read what a model folder says of its model. The weights are neither read nor checked yet.

    Args:
        folder: the folder.

    Returns:
        The model.

    Raises:
        ModelError: no such folder; its config.json is missing, damaged, of another library or of a newer format.
        OSError: config.json cannot be read.
    """
    folder = Path(folder)
    path = folder / CONFIG
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such model folder")
    if not path.is_file():
        raise ModelError(f"{folder}: not a model of insight: it has no {CONFIG}; `insight models export` makes one")
    with open(path, "rb") as file:
        text = file.read(_MAX_BYTES + 1)
    if len(text) > _MAX_BYTES:
        raise ModelError(f"{path}: expected at most {_MAX_BYTES:,} bytes")
    try:
        content = parse_json(text, str(path))
    except InputError as error:
        raise ModelError(f"{error}; the file is damaged, get the model again") from None
    _require_ours(content, path)
    read = _Reader(content, path)
    kind = read.text("kind", KINDS)
    gsd = read.value("gsd", list, None)
    return ModelFolder(
        path=folder,
        name=read.text("name"),
        kind=kind,
        sha256=_Reader(read.value("weights", dict), path, "weights.").text("sha256"),
        architecture=_architecture(read.value("architecture", dict), path) if kind == "sopseg" else None,
        config=_config(read.value("config", dict), path) if kind == "detector" else {},
        class_names=tuple(read.names("class_names")) if kind == "detector" else (),
        score_threshold=float(read.value("score_threshold", (int, float), 0.5)),
        gsd=None if gsd is None else _range(gsd, path),
        license=read.value("license", str, "unknown"),
        metrics=_metrics(read.value("metrics", dict, {}), path),
        training=read.value("training", dict, {}),
    )


def _require_ours(content: Any, path: Path) -> None:
    if not isinstance(content, dict):
        raise ModelError(f"{path}: expected a JSON object, got {type(content).__name__}")
    if content.get("format") != FORMAT:
        library = next((name for name, marks in _FOREIGN.items() if any(mark in content for mark in marks)), None)
        of = f"it is of {library}" if library else f'expected "format": "{FORMAT}"'
        raise ModelError(f"{path}: not a model of insight: {of}")
    version = content.get("format_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise ModelError(f"{path}: format_version: expected a positive integer, got {version!r:.80}")
    if version > FORMAT_VERSION:
        raise ModelError(
            f"{path}: is of format version {version}, this insight reads {FORMAT_VERSION}: install a newer insight"
        )


class _Reader:
    """Reads checked values of a JSON object."""

    def __init__(self, content: dict, path: Path, prefix: str = ""):
        self.content, self.path, self.prefix = content, path, prefix

    def value(self, key: str, kind: type | tuple[type, ...], *default: Any) -> Any:
        value = self.content.get(key)
        if value is None and default:
            return default[0]
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(value, kind) or (isinstance(value, bool) and bool not in kinds):
            names = {dict: "an object", list: "a list", str: "a text", bool: "true or false"}
            expected = names.get(kinds[0], "a number")
            raise ModelError(f"{self.path}: {self.prefix}{key}: expected {expected}, got {value!r:.80}")
        return value

    def text(self, key: str, among: tuple[str, ...] = ()) -> str:
        value = self.value(key, str)
        if not value or (among and value not in among):
            raise ModelError(
                f"{self.path}: {self.prefix}{key}: expected {' or '.join(among) or 'a text'}, got {value!r:.80}"
            )
        return value

    def names(self, key: str) -> list[str]:
        value = self.value(key, list)
        if not value or not all(isinstance(name, str) for name in value):
            raise ModelError(f"{self.path}: {self.prefix}{key}: expected a list of names, got {value!r:.80}")
        return value


def _architecture(content: dict, path: Path) -> SOPSegArchitecture:
    known = SOPSegArchitecture.__dataclass_fields__
    if unknown := sorted(content.keys() - known.keys()):
        raise ModelError(f"{path}: architecture.{unknown[0]}: unknown; install a newer insight")
    read = _Reader(content, path, "architecture.")
    return SOPSegArchitecture(
        encoder=read.text("encoder"),
        decoder=read.text("decoder"),
        input_size=read.value("input_size", int, 256),
        prompt=read.value("prompt", str, "oriented_box"),
        magnify=read.value("magnify", bool, True),
    )


def _config(content: dict, path: Path) -> dict:
    if unknown := sorted(content.keys() - set(SECTIONS)):
        raise ModelError(f"{path}: config: expected the sections {', '.join(SECTIONS)}, got {unknown[0]:.80}")
    return content


def _range(values: list, path: Path) -> tuple[float, float]:
    if len(values) != 2 or not all(isinstance(v, (int, float)) and v > 0 for v in values) or values[0] > values[1]:
        raise ModelError(f"{path}: gsd: expected the smallest and the largest, metres per pixel, got {values!r:.80}")
    return float(values[0]), float(values[1])


def _metrics(content: dict, path: Path) -> dict:
    for dataset, tasks in content.items():
        for metrics in tasks.values() if isinstance(tasks, dict) else [None]:
            if not isinstance(metrics, dict) or any(
                value is not None and not isinstance(value, (int, float)) for value in metrics.values()
            ):
                raise ModelError(f"{path}: metrics: expected numbers by dataset, task and metric, got {dataset!r:.80}")
    return content
