"""The data sets that insight registers with Detectron2: importing this package does it."""

from . import isaid, nwpu, scenes
from .coco import register_from_config
from .root import data_root

__all__ = ["data_root", "register_from_config"]

isaid.register()
nwpu.register()
scenes.register()
