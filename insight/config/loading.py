"""Loading and writing configs."""

import functools
import logging
import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from insight.runtime.machine import is_device_name

from .checks import require_keys, require_plain_values, require_readers, require_values, unknown_key
from .errors import ConfigError
from .files import ConfigPart, read_files
from .keys import add_insight_config, add_insight_keys, add_point_rend_keys
from .tree import leaves

if TYPE_CHECKING:
    from detectron2.config import CfgNode


def load_config(
    config_files: str | os.PathLike | Sequence[str | os.PathLike] = (),
    overrides: Sequence[Any] = (),
    start: ConfigPart | None = None,
) -> "CfgNode":
    """Load a config: Detectron2's and insight's defaults, then the config files with their `_BASE_`, then overrides.

    Files are read as data; nothing in them is executed. A MODEL.DEVICE of "cuda" becomes "cpu", with a warning, where
    there is no GPU.

    Args:
        config_files: names of shipped configs or paths of YAML files, merged from left to right, such as
            `["nwpu_light", "lpm"]`; empty for the defaults.
        overrides: KEY, VALUE, KEY, VALUE, ...
        start: merged before the files, such as the config of a model folder; None for nothing.

    Returns:
        The frozen config.

    Raises:
        ConfigError: a file is missing, is not YAML or includes itself; two files contradict each other; a key is
            unknown; a value has the wrong type or is out of range; or a part is enabled for a model that would ignore
            it.
    """
    given = [config_files] if isinstance(config_files, (str, os.PathLike)) else config_files
    files = read_files([os.fspath(name) for name in given if os.fspath(name)])

    from detectron2.config import CfgNode, get_cfg

    cfg = get_cfg()
    add_insight_config(cfg)
    empty = {key for key, value in leaves(cfg) if value is None}
    for file, content in [*([start] if start else []), *files]:
        require_keys(file, content, cfg)
        try:
            cfg.merge_from_other_cfg(CfgNode(content))
        except _MERGE_ERRORS as error:
            raise ConfigError(f"{file}: {_reason(error)}") from error
    known = [key for key, _ in leaves(cfg)]
    if len(overrides) % 2:
        raise ConfigError(f"overrides: expected KEY VALUE pairs, {overrides[-1]} has no value")
    for key, value in zip(overrides[::2], overrides[1::2]):
        if str(key) not in known:
            raise ConfigError(f"overrides: {unknown_key(str(key), cfg)}")
        try:
            cfg.merge_from_list([str(key), value])
        except _MERGE_ERRORS as error:
            raise ConfigError(f"overrides: {_reason(error)}") from error
    require_plain_values(cfg, empty)
    _choose_device(cfg)
    require_readers(cfg)
    require_values(cfg)
    cfg.freeze()
    return cfg


def dump_config(cfg: "CfgNode") -> str:
    """Dump a config as YAML that can be merged after `add_insight_config`, even where PointRend is not installed.

    Args:
        cfg: the config.

    Returns:
        The YAML, with every key but those of Detectron2's project PointRend that are at their defaults.
    """
    short = cfg.clone()
    short.defrost()
    for key, default in _point_rend_defaults().items():
        *sections, name = key.split(".")
        section = functools.reduce(lambda node, part: node.get(part, {}), sections, short)
        if name in section and section[name] == default:
            del section[name]
    _drop_empty_sections(short)
    return short.dump()


def changed_keys(cfg: "CfgNode") -> dict[str, Any]:
    """Return the part of a config that differs from Detectron2's and insight's defaults.

    Args:
        cfg: a config with insight's keys.

    Returns:
        {section: {KEY: value}} with plain values, such as a config file holds; `load_config` with it as `start` gives
        an equal config.
    """
    from detectron2.config import get_cfg

    defaults = get_cfg()
    add_insight_config(defaults)
    before = {key: _as_lists(value) for key, value in leaves(defaults)}
    changed: dict[str, Any] = {}
    for key, value in leaves(cfg):
        value = _as_lists(value)
        if key not in before or before[key] != value:
            *sections, name = key.split(".")
            functools.reduce(lambda node, part: node.setdefault(part, {}), sections, changed)[name] = value
    return changed


def _as_lists(value: Any) -> Any:
    return [_as_lists(item) for item in value] if isinstance(value, (list, tuple)) else value


@functools.cache
def _point_rend_defaults() -> dict[str, Any]:
    """The keys that PointRend adds, with their defaults."""
    from detectron2.config import get_cfg

    cfg = get_cfg()
    add_insight_keys(cfg)
    own = {key for key, _ in leaves(cfg)}
    add_point_rend_keys(cfg)
    return {key: value for key, value in leaves(cfg) if key not in own}


def _drop_empty_sections(node: "CfgNode") -> None:
    for key, value in list(node.items()):
        if isinstance(value, dict):
            _drop_empty_sections(value)
            if not value:
                del node[key]


# What yacs raises at an unknown key, a value of another type, or a literal that is nested too deeply
_MERGE_ERRORS = (KeyError, ValueError, AssertionError, AttributeError, TypeError, RecursionError, MemoryError)


_MISMATCH = re.compile(
    r"Type mismatch \(<class '(?:.*\.)?(\w+)'> vs\. <class '(?:.*\.)?(\w+)'>\) with values \(.* vs\. (.*)\) "
    r"for config key: (\S+)"
)


def _reason(error: Exception) -> str:
    """What yacs says, shorter."""
    if isinstance(error, (RecursionError, MemoryError)):
        return "a value is nested too deeply"
    said = " ".join(str(error.args[0] if isinstance(error, KeyError) and error.args else error).split())
    if mismatch := _MISMATCH.fullmatch(said):
        wanted, given, value, key = mismatch.groups()
        said = f"{key}: expected a value of type {wanted}, got {value:.80} of type {given}"
        return said + _how_to_write(value, wanted, given)
    return said if len(said) <= 400 else f"{said[:200]} ... {said[-200:]}"


def _how_to_write(value: str, wanted: str, given: str) -> str:
    """What to write for a value of another type, where that is clear."""
    if (wanted, given) == ("float", "int"):
        return f"; write {value:.50}.0"
    words = re.fullmatch(r"[\[(]?([\w.,-]{1,50})[\])]?", value)  # [mask] too, from which a shell took the quotes
    if wanted not in ("list", "tuple") or given != "str" or words is None:
        return ""
    items = ", ".join(f'"{word}"' for word in words[1].split(",") if word)
    return f"; write '[{items}]'" if wanted == "list" else f"; write '({items},)'"


def _choose_device(cfg: "CfgNode") -> None:
    if not is_device_name(cfg.MODEL.DEVICE):
        raise ConfigError(f"MODEL.DEVICE is {cfg.MODEL.DEVICE!r}: expected cpu, cuda or cuda:N")
    import torch

    device = torch.device(cfg.MODEL.DEVICE)
    if device.type == "cuda" and not torch.cuda.is_available():
        logging.getLogger(__name__).warning("MODEL.DEVICE is cuda but there is no GPU: using the CPU")
        cfg.MODEL.DEVICE = "cpu"
    elif device.index is not None and device.index >= torch.cuda.device_count():
        raise ConfigError(f"MODEL.DEVICE is {cfg.MODEL.DEVICE!r}: there is no such GPU; `insight info` lists them")
