"""Georeferenced rasters and vector layers. Needs the extra `geo`.

`Raster`, `predict_raster` and `predict_rasters` are imported when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from insight.errors import MissingDependencyError

try:
    import geopandas  # noqa: F401
    import pyarrow  # noqa: F401
    import pyogrio  # noqa: F401
    import rasterio  # noqa: F401
except ImportError as error:
    raise MissingDependencyError(f"insight.geo: {error}; run `pip install 'insight-seg[geo]'`") from error

if TYPE_CHECKING:
    from .predict import predict_raster
    from .predict_many import predict_rasters
    from .raster import Raster

__all__ = ["Raster", "predict_raster", "predict_rasters"]

_LAZY = {"Raster": ".raster", "predict_raster": ".predict", "predict_rasters": ".predict_many"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(_LAZY[name], __name__), name)
    return value
