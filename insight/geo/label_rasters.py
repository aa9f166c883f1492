"""Rasters of results: which instance covers a pixel, and its score, as cloud-optimised GeoTIFFs."""

import os
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
import rasterio.shutil
import shapely
from affine import Affine
from rasterio.errors import RasterioError, RasterioIOError
from rasterio.features import rasterize
from rasterio.windows import Window
from rasterio.windows import transform as window_transform

from insight.errors import InputError
from insight.runtime.atomic_files import temporary_folder
from insight.runtime.outputs import check_output_file

_BLOCK = 512  # side of the tiles of a cloud-optimised GeoTIFF, pixels
_TYPES = {"instance_id": ("uint32", 0), "class_id": ("int16", -1), "score": ("float32", float("nan"))}


def write_label_raster(
    path: str | os.PathLike,
    table: geopandas.GeoDataFrame,
    image_size: tuple[int, int],
    transform: Affine,
    crs: Any,
    column: str = "instance_id",
) -> None:
    """Draw the polygons of a table into a cloud-optimised GeoTIFF with overviews.

    A pixel whose centre lies in several polygons gets the value of the one with the highest score, of equal scores the
    first. Memory holds a row of tiles, whatever the size.

    Args:
        path: the file, which appears when it is whole.
        table: polygons in `crs` with the columns "score" and `column`, as `feature_table` makes it.
        image_size: (height, width) of the raster in pixels, that of the scene.
        transform: affine transform from its pixels to `crs`.
        crs: its CRS in any form that rasterio takes, or None.
        column: "instance_id" (uint32, 0 where there is none), "class_id" (int16, -1) or "score" (float32, NaN).

    Raises:
        InputError: an unknown column.
        OSError: the file cannot be written.
    """
    path = check_output_file(path)
    if column not in _TYPES:
        raise InputError(f"column: expected {', '.join(_TYPES)}, got {column!r:.80}")
    dtype, nothing = _TYPES[column]
    table = table[~(table.geometry.isna() | table.geometry.is_empty)]
    order = np.argsort(-table["score"].to_numpy(float), kind="stable")[::-1]  # the last one drawn is on top
    polygons, values = table.geometry.to_numpy()[order], table[column].to_numpy()[order]
    tree = shapely.STRtree(polygons)
    height, width = image_size
    profile = {"driver": "GTiff", "height": height, "width": width, "count": 1, "dtype": dtype, "nodata": nothing,
               "crs": crs, "transform": transform, "tiled": True, "blockxsize": _BLOCK, "blockysize": _BLOCK,
               "compress": "deflate", "bigtiff": "if_safer"}  # fmt: skip
    with temporary_folder(path) as folder:
        plain, whole = folder / "plain.tif", folder / path.name
        try:
            with rasterio.open(plain, "w", **profile) as raster:
                for top in range(0, height, _BLOCK):
                    window = Window(0, top, width, min(_BLOCK, height - top))
                    moved = window_transform(window, transform)
                    corners = [
                        moved @ corner for corner in ((0, 0), (width, 0), (width, window.height), (0, window.height))
                    ]
                    here = np.sort(tree.query(shapely.Polygon(corners)))
                    rows = np.full((window.height, width), nothing, dtype)
                    if len(here):
                        rasterize(zip(polygons[here], values[here]), out=rows, transform=moved)
                    raster.write(rows, 1, window=window)
            rasterio.shutil.copy(plain, whole, driver="COG", compress="deflate", blocksize=_BLOCK,
                                 overview_resampling="nearest", bigtiff="if_safer")  # fmt: skip
        except (RasterioError, RasterioIOError) as error:
            raise OSError(f"{path}: cannot be written: {error}") from error
        _replace(whole, path)


def _replace(file: Path, path: Path) -> None:
    with open(file, "rb") as opened:
        os.fsync(opened.fileno())
    os.replace(file, path)
