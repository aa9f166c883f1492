"""A map to look at: one HTML page with a picture of the scene and the polygons over it, which needs nothing else."""

import base64
import html
import json
import math
import os
from importlib import resources
from typing import Any, NamedTuple

import cv2
import geopandas
import numpy as np
import pandas
import shapely

from insight.data.formats.file_check import first
from insight.errors import InputError
from insight.runtime.atomic_files import atomic_write
from insight.runtime.outputs import check_output_file
from insight.visualization.overlays import palette_color

from .features import parse_crs
from .layers import CLASS_COLUMNS, objects_layer, read_layer
from .prompts import ImagePlace
from .raster import Raster

_TENTHS = 10  # coordinates in the page are tenths of a pixel


class MapSummary(NamedTuple):
    """What a page shows.

    Attributes:
        objects: number of polygons.
        outside: number of rows that lie outside the scene or have no polygon.
        megabytes: size of the page.
    """

    objects: int
    outside: int
    megabytes: float


def write_map(
    layer: str | os.PathLike,
    raster: Raster,
    output: str | os.PathLike,
    *,
    title: str | None = None,
    picture_size: int = 2048,
    simplify: float = 0.5,
) -> MapSummary:
    """Write a page with a picture of a raster and the polygons of a layer over it.

    The page shows classes in colours with a legend that switches them, filters by score, shows the attributes of a
    polygon that is clicked, zooms and moves. It loads nothing: it can be mailed, and opened without a network.

    Args:
        layer: polygons in any CRS, see `insight.geo.layers.read_layer`; of a GeoPackage of several layers the one named
            "objects". Classes are in the column class_name, class, label or category, scores in "score".
        raster: the scene.
        output: the .html file.
        title: heading of the page; None for the name of the raster.
        picture_size: long side of the picture, pixels.
        simplify: how far outlines may move, in pixels of the scene, to make the page smaller.

    Returns:
        What it shows.

    Raises:
        OSError: a file is missing or cannot be written.
        InputError: another suffix, a layer without polygons or that lies elsewhere, or a `picture_size` below 64.
    """
    output = check_output_file(output, suffixes=(".html", ".htm"))
    if picture_size < 64:
        raise InputError(f"picture_size: expected at least 64 pixels, got {picture_size}")
    table, pixels, rows = _polygons(layer, raster)
    height, width = raster.size
    pixels = shapely.simplify(pixels, simplify)
    classes = _classes(table)
    names = sorted(set(classes))
    scores = pandas.to_numeric(table["score"], errors="coerce") if "score" in table else np.full(len(table), np.nan)
    columns = [name for name in table.columns if name != table.geometry.name]
    values = [[_value(value) for value in row] for row in table[columns].itertuples(index=False, name=None)]
    crs, heading = parse_crs(raster.crs), title or raster.path.name
    content = {
        "title": heading,
        "size": [width, height],
        "picture": _picture(raster, picture_size),
        "transform": list(raster.transform[:6]),
        "crs": "" if crs is None else crs.to_string(),
        "digits": 6 if crs is not None and crs.is_geographic else 1,
        "metres": raster.gsd_m,
        "columns": [str(name) for name in columns],
        "classes": [
            {"name": name, "color": "#{:02x}{:02x}{:02x}".format(*palette_color(i)), "count": classes.count(name)}
            for i, name in enumerate(names)
        ],
        "objects": [
            {
                "class": names.index(kind),
                "score": None if not math.isfinite(score) else round(float(score), 5),
                "values": row,
                "rings": _rings(polygon),
            }
            for kind, score, row, polygon in zip(classes, scores, values, pixels)
        ],
    }
    # "<" occurs in strings only, where an escape means the same: a script in a name stays text.
    data = json.dumps(content, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    template = resources.files(__package__).joinpath("map_page.html").read_text(encoding="utf-8")
    head, tail = template.replace("@TITLE@", html.escape(heading)).split("@DATA@")
    with atomic_write(output) as file:
        file.write(f"{head}{data}{tail}")
    return MapSummary(len(pixels), rows - len(pixels), output.stat().st_size / 1e6)


def _polygons(layer: str | os.PathLike, raster: Raster) -> tuple[geopandas.GeoDataFrame, np.ndarray, int]:
    """Rows that lie on the raster, their polygons in its pixels, and how many rows there are."""
    path = objects_layer(layer)
    found = read_layer(path, raster.path.name)
    table = found.table
    kinds = {str(name) for name in table.geometry.geom_type.dropna().unique() if "Polygon" not in name}
    if kinds:
        raise InputError(f"{path}: expected a layer of polygons, got {first(sorted(kinds))}")
    rows = len(table)
    table = table[~(table.geometry.isna() | table.geometry.is_empty)]
    if not len(table):
        return table, np.zeros(0, object), rows
    place = ImagePlace(path, parse_crs(raster.crs), raster.transform, raster.size)
    pixels = place.to_pixels(shapely.force_2d(table.geometry.to_numpy()), parse_crs(table.crs), found.in_pixels)
    here = place.touched_by(pixels)
    if not here.any():
        raise InputError(f"{path}: lies elsewhere: {place.distance_to(pixels)}")
    return table[here], pixels[here], rows


def _classes(table: geopandas.GeoDataFrame) -> list[str]:
    column = next((name for name in CLASS_COLUMNS if name in table.columns), None)
    return ["object"] * len(table) if column is None else table[column].fillna("no class").astype(str).tolist()


def _picture(raster: Raster, size: int) -> str:
    pixels = raster.overview(size)
    encoded = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}"


def _rings(polygon: Any) -> list[list[int]]:
    """Exteriors and holes, each as the first corner and the steps to the next, in tenths of a pixel."""
    rings = []
    for part in shapely.get_parts(polygon):
        for ring in (part.exterior, *part.interiors):
            corners = np.rint(np.array(ring.coords[:-1]) * _TENTHS).astype(np.int64)
            rings.append(np.diff(corners, axis=0, prepend=0).ravel().tolist())
    return rings


def _value(value: Any) -> Any:
    if value is None or value is pandas.NaT or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return None if not math.isfinite(value) else value
    return value if isinstance(value, (int, str, bool)) else str(value)
