"""What the keys and values of a config must be."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import ConfigError
from .tree import leaves, value_of

if TYPE_CHECKING:
    from detectron2.config import CfgNode


def require_keys(file: Path, content: dict[str, Any], root: "CfgNode", prefix: str = "") -> None:
    """Raise if a file has an unknown key, a value in place of a section, or a section in place of a value."""
    cfg = value_of(root, prefix[:-1]) if prefix else root
    for key, value in content.items():
        if key not in cfg:
            raise ConfigError(f"{file}: {unknown_key(prefix + key, root)}")
        is_section = isinstance(cfg[key], dict)
        if is_section and isinstance(value, dict):
            require_keys(file, value, root, f"{prefix}{key}.")
        elif is_section or isinstance(value, dict):
            expected = "a section of KEY: VALUE" if is_section else "a value"
            raise ConfigError(f"{file}: {prefix}{key}: expected {expected}, got {value!r:.80}")


def unknown_key(key: str, cfg: "CfgNode") -> str:
    near = difflib.get_close_matches(key, [name for name, _ in leaves(cfg)], 1)
    return f"unknown config key {key:.100}" + (f"; the nearest is {near[0]}" if near else "")


def require_plain_values(cfg: "CfgNode", empty: set[str]) -> None:
    """Raise if a value is null, unless its default is too, or a number that no tensor can hold."""
    for key, value in leaves(cfg):
        if value is None and key not in empty:
            raise ConfigError(f"{key}: expected a value, got null")
        for number in _flat(value):
            if isinstance(number, int) and number.bit_length() > 63:
                raise ConfigError(f"{key}: expected integers of at most 64 bits, got one of {number.bit_length()} bits")


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _flat(item)
    else:
        yield value


_PROMPT_RCNN = ("MODEL.META_ARCHITECTURE", "PromptRCNN")
_PROMPT_RPN = ("MODEL.PROPOSAL_GENERATOR.NAME", "PromptRPN")
# The class that reads each switch; a model that is neither it nor a subclass would ignore it.
_READERS = {
    "MODEL.PROMPT.LPM.ENABLED": _PROMPT_RCNN,
    "MODEL.PROMPT.GPM.ENABLED": _PROMPT_RCNN,
    "MODEL.PROMPT.CONSTANT.ENABLED": _PROMPT_RCNN,
    "MODEL.SOPSEG_BRANCH.ENABLED": _PROMPT_RCNN,
    "MODEL.PROMPT.SAMPLING.ENABLED": _PROMPT_RPN,
    "MODEL.RPN.AREA_LOSS.ENABLED": _PROMPT_RPN,
    "MODEL.SCNET.SEMANTIC.ENABLED": ("MODEL.ROI_HEADS.NAME", "SCNetROIHeads"),
}


def require_readers(cfg: "CfgNode") -> None:
    from detectron2.modeling import META_ARCH_REGISTRY, PROPOSAL_GENERATOR_REGISTRY, ROI_HEADS_REGISTRY

    registries = {
        "MODEL.META_ARCHITECTURE": META_ARCH_REGISTRY,
        "MODEL.PROPOSAL_GENERATOR.NAME": PROPOSAL_GENERATOR_REGISTRY,
        "MODEL.ROI_HEADS.NAME": ROI_HEADS_REGISTRY,
    }
    for switch, (key, reader) in _READERS.items():
        name, registry = value_of(cfg, key), registries[key]
        reads = name in registry and issubclass(registry.get(name), registry.get(reader))
        if value_of(cfg, switch) and not reads:
            raise ConfigError(
                f"{switch} is True, but {key} is {name!r}, which would ignore it: set {key} to {reader}, or {switch} "
                "to False"
            )


_JITTER = ("a number from 0 to below 0.5, at which a box could turn over", lambda value: 0 <= value < 0.5)
_COUNT = ("at least 1", lambda value: value >= 1)
# Values whose effect would go unnoticed for hours, or forever
_VALUES = {
    "MODEL.PROMPT.CROP_SIZE": _COUNT,
    "MODEL.PROMPT.LPM.DIM": _COUNT,
    "MODEL.PROMPT.LPM.PATCH_SIZE": _COUNT,
    "MODEL.PROMPT.LPM.STRIDE": _COUNT,
    "MODEL.PROMPT.GPM.DIM": _COUNT,
    "MODEL.PROMPT.GPM.NUM_HEADS": _COUNT,
    "MODEL.PROMPT.GPM.DEPTH": _COUNT,
    "MODEL.PROMPT.GPM.GLOBAL_PATCH": _COUNT,
    "MODEL.PROMPT.GPM.LOCAL_PATCH": _COUNT,
    "MODEL.PROMPT.GPM.MAX_TOKENS": _COUNT,
    "MODEL.PROMPT.CONSTANT.DIM": _COUNT,
    "MODEL.PROMPT.CONSTANT.GRID": _COUNT,
    "MODEL.PROMPT.PROJECTION_LR_FACTOR": ("at least 0", lambda value: value >= 0),
    "MODEL.SOPSEG.JITTER": _JITTER,
    "TEST.PROMPT_JITTER": _JITTER,
    "TEST.DETECTIONS_PER_IMAGE": _COUNT,
    "SOLVER.CHECKPOINT_PERIOD": _COUNT,
    "SOLVER.CHECKPOINTS_TO_KEEP": ("at least 0", lambda value: value >= 0),
    "TEST.VALIDATION_IMAGES": ("at least 0", lambda value: value >= 0),
    "SEED": ("below 2^32 (NumPy's limit), or negative for a random seed", lambda value: value < 2**32),
}


def require_values(cfg: "CfgNode") -> None:
    for key, (expected, holds) in _VALUES.items():
        if not holds(value_of(cfg, key)):
            raise ConfigError(f"{key}: expected {expected}, got {value_of(cfg, key)}")
