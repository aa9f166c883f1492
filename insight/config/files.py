"""Config files and what they inherit from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from insight.errors import InputError
from insight.runtime.yaml_files import read_yaml

from .errors import ConfigError
from .shipped import find_config, shipped_configs


class ConfigPart(NamedTuple):
    """A part of a config that has been read already.

    Attributes:
        source: where it comes from, for errors.
        content: {section: {KEY: value}}, as in a config file.
    """

    source: Path
    content: dict[str, Any]


# Keys that choose the parts of a model, and the default that another part may replace
_CHOICES = {
    "MODEL.META_ARCHITECTURE": None,
    "MODEL.BACKBONE.NAME": None,
    "MODEL.ROI_HEADS.NAME": "StandardROIHeads",
    "MODEL.ROI_MASK_HEAD.NAME": "MaskRCNNConvUpsampleHead",
}
_MAX_FILES, _MAX_DEPTH = 200, 30  # files that a config is made of, and in one line of inheritance


def read_files(names: Sequence[str], folder: Path = Path(), chain: tuple[Path, ...] = ()) -> list[ConfigPart]:
    """Read config files and all that they inherit, in the order in which they are merged.

    Args:
        names: names of shipped configs or paths of YAML files.
        folder: what relative paths are relative to.
        chain: the files that inherit these.

    Raises:
        ConfigError: a file is missing, is not YAML or inherits itself; or two files contradict each other.
    """
    read = []
    for name in names:
        read.append((name, _read_file(folder / find_config(name), chain)))
        if sum(len(layers) for _, layers in read) > _MAX_FILES:
            raise ConfigError(f"{name}: includes more than {_MAX_FILES} files through _BASE_")
    for number, (name, layers) in enumerate(read):
        for key, replaceable in _CHOICES.items():
            ours = _stated(layers, key)
            for other, earlier in read[:number]:
                theirs = _stated(earlier, key)
                if None not in (ours, theirs) and theirs not in (ours, replaceable):
                    raise ConfigError(
                        f"{other} and {name} contradict each other: {key} is {theirs!r} in {other} and {ours!r} in "
                        f"{name}; leave one out (a recipe comes before its parts)"
                    )
    return [layer for _, layers in read for layer in layers]


def _read_file(path: Path, chain: tuple[Path, ...]) -> list[ConfigPart]:
    if path.resolve() in chain:
        raise ConfigError(f"{path}: inherits from itself through _BASE_")
    if len(chain) > _MAX_DEPTH:
        raise ConfigError(f"{path}: more than {_MAX_DEPTH} levels of _BASE_")
    try:
        content = read_yaml(path)
    except InputError as error:
        shipped = not path.exists() and path.stem in shipped_configs()
        hint = f"; {path.stem} alone names a shipped config" if shipped else ""
        by = f"{chain[-1]}: _BASE_: " if chain else ""
        raise ConfigError(f"{by}{error}{hint}") from error
    if not _is_section(content):
        raise ConfigError(f"{path}: expected sections of KEY: VALUE, got {content!r:.80}")
    bases = content.pop("_BASE_", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not (isinstance(bases, list) and all(isinstance(base, str) and base for base in bases)):
        raise ConfigError(f"{path}: _BASE_: expected a file or a list of files, got {bases!r:.80}")
    if content.get("VERSION", 2) != 2:
        raise ConfigError(f"{path}: VERSION: expected 2, got {content['VERSION']!r:.80}")
    return [*read_files(bases, path.parent, (*chain, path.resolve())), ConfigPart(path, content)]


def _is_section(node: Any) -> bool:
    return isinstance(node, dict) and all(
        isinstance(key, str) and (not isinstance(value, dict) or _is_section(value)) for key, value in node.items()
    )


def _stated(layers: list[ConfigPart], key: str) -> Any:
    """The value that files give a key, None if they do not."""
    for _, content in reversed(layers):
        node: Any = content
        for part in key.split("."):
            node = node.get(part) if isinstance(node, dict) else None
        if node is not None:
            return node
    return None
