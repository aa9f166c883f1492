"""The data sets that insight registers with Detectron2: importing this package does it."""

from detectron2.data import DatasetCatalog

from . import dota, hrsid, isaid, nwpu, sat_mtb, scenes, soda_a, ssdd
from .coco import register_from_config
from .root import data_root

__all__ = ["BUILT_IN", "data_root", "register_from_config"]

_others = set(DatasetCatalog.list())
for _module in (scenes, nwpu, isaid, hrsid, ssdd, sat_mtb, dota, soda_a):
    _module.register()
BUILT_IN = tuple(name for name in DatasetCatalog.list() if name not in _others)  # their names
