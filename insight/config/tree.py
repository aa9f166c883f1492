"""Keys and values of a config, which is a tree of sections."""

import functools
import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detectron2.config import CfgNode


def leaves(node: "CfgNode", prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def value_of(cfg: "CfgNode", key: str) -> Any:
    return functools.reduce(operator.getitem, key.split("."), cfg)
