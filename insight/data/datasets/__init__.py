"""Built-in datasets. Importing this package registers them with Detectron2."""

import difflib
from collections.abc import Sequence

from detectron2.data import DatasetCatalog

from insight.errors import InputError

from . import dota, hrsid, isaid, nwpu, sat_mtb, scenes, soda_a, ssdd
from .coco import register_from_config
from .root import data_root

__all__ = ["BUILT_IN", "data_root", "register_from_config", "require_registered"]

_others = set(DatasetCatalog.list())
for _module in (scenes, nwpu, isaid, hrsid, ssdd, sat_mtb, dota, soda_a):
    _module.register()
BUILT_IN = tuple(name for name in DatasetCatalog.list() if name not in _others)  # their names
_BY_CONFIG = """DATASETS.COCO '[["name", "file.json", "images"]]'"""


def require_registered(names: Sequence[str], argument: str) -> None:
    """Check that datasets are registered; Detectron2's own error lists all of COCO and LVIS.

    Args:
        names: names of the datasets.
        argument: argument or config key that holds them, for the error.

    Raises:
        InputError: an unknown dataset.
    """
    registered = DatasetCatalog.list()
    for name in names:
        if name not in registered:
            near = difflib.get_close_matches(name, BUILT_IN)
            known = f"the nearest: {', '.join(near)}" if near else f"insight's are: {', '.join(BUILT_IN)}"
            raise InputError(f"{argument}: unknown dataset {name!r}; {known}; a COCO file gets a name by {_BY_CONFIG}")
