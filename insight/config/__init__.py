"""Configs: insight's keys, the files that ship, and loading with checks."""

from .errors import ConfigError
from .files import ConfigPart
from .keys import add_insight_config, gives_masks, is_sopseg, semantic_classes
from .loading import changed_keys, dump_config, load_config
from .shipped import configs_folder, find_config, shipped_configs, shipped_tables

__all__ = [
    "ConfigError",
    "ConfigPart",
    "add_insight_config",
    "changed_keys",
    "configs_folder",
    "dump_config",
    "find_config",
    "gives_masks",
    "is_sopseg",
    "load_config",
    "semantic_classes",
    "shipped_configs",
    "shipped_tables",
]
