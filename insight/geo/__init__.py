"""Georeferenced rasters and vector layers. Needs the extra `geo`."""

from insight.errors import MissingDependencyError

try:
    import geopandas  # noqa: F401
    import pyogrio  # noqa: F401
    import rasterio  # noqa: F401
except ImportError as error:
    raise MissingDependencyError(f"insight.geo: {error}; run `pip install insight-seg[geo]`") from error
