"""Read vector layers of any format that holds boxes or points."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import geopandas
import numpy as np
import pandas
import pyarrow as pa
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError

from insight.data.formats.coco import read_coco
from insight.data.formats.file_check import SKIP_HINT, FileCheck, first, read_json, read_text
from insight.data.formats.oriented import read_dota, read_yolo_obb
from insight.errors import InputError
from insight.structures.oriented_boxes import oriented_corners

CLASS_COLUMNS = ("class_name", "class", "label", "category")  # of which the first that a layer has names classes
OBJECTS, ORIENTED_BOXES = "objects", "oriented_boxes"  # layers of results
_LAYER = re.compile(r"(?P<path>.+?)\|layername=(?P<layer>[^|]+)$")  # as QGIS writes it
_SRID = re.compile(r"\s*SRID=(?P<srid>\d+);(?P<wkt>.*)$", re.IGNORECASE | re.DOTALL)
_YOLO_LINE = re.compile(r"\s*\d+(\s+-?[\d.eE+-]+){8}\s*$")  # DOTA's ends in words
_WKT = ("wkt", "geometry", "geom", "the_geom")
_POINTS = (("x", "y"), ("lon", "lat"), ("lng", "lat"), ("longitude", "latitude"))
_BOXES = (("xmin", "ymin", "xmax", "ymax"), ("x1", "y1", "x2", "y2"))
_SIDES = (("w", "h"), ("width", "height"))
_CORNERS = tuple(f"{axis}{i}" for i in (1, 2, 3, 4) for axis in "xy")


class Layer(NamedTuple):
    """The rows of a layer.

    Attributes:
        table: geometries with attributes; the CRS is None if the file has none.
        in_pixels: whether the coordinates are pixels by the format's definition.
    """

    table: geopandas.GeoDataFrame
    in_pixels: bool = False


def read_layer(
    path: str | os.PathLike, image_name: str | None = None, image_size: tuple[int, int] | None = None
) -> Layer:
    """Read a layer of polygons or points.

    Args:
        path: a file that GDAL reads (GeoPackage, GeoJSON, shapefile, FlatGeobuf, ...); GeoParquet; CSV with a column of
            WKT (which may begin with SRID=...;), or with columns x, y, or lon, lat, or xmin, ymin, xmax, ymax, or x1,
            y1 ... x4, y4; a COCO .json file; or a .txt file of DOTA or YOLO-OBB. FILE|layername=NAME selects one of
            several layers.
        image_name: file name of the image, which selects the boxes of a COCO file of several images.
        image_size: (height, width) of the image in pixels, for YOLO-OBB.

    Returns:
        The rows, in the order of the file.

    Raises:
        OSError: there is no such file.
        InputError: the file cannot be read, or holds several layers; the message names it and says what to do.
    """
    text = os.fspath(path)
    named = _LAYER.match(text)
    file, layer = (Path(named["path"]), named["layer"]) if named else (Path(text), None)
    if not file.exists():
        raise FileNotFoundError(f"no such file: {file}")
    suffix = file.suffix.lower()
    if suffix == ".parquet":
        return Layer(_read_parquet(file))
    if suffix == ".csv":
        return Layer(_read_csv(file))
    if suffix == ".txt":
        return Layer(_from_text(file, image_size), in_pixels=True)
    if suffix == ".json" and not _is_geojson(file):
        return Layer(_from_coco(file, image_name), in_pixels=True)
    return Layer(_read_by_gdal(file, layer))


def objects_layer(path: str | os.PathLike) -> str:
    """Name the layer of objects, of a file that may also have one of their oriented boxes.

    Args:
        path: a file, as `read_layer` takes it.

    Returns:
        FILE|layername=objects for a GeoPackage with such a layer, else the path.
    """
    text = os.fspath(path)
    if Path(text).suffix.lower() == ".gpkg" and Path(text).is_file():
        try:
            if OBJECTS in pyogrio.list_layers(text)[:, 0]:
                return f"{text}|layername={OBJECTS}"
        except DataSourceError:  # which reading it says
            pass
    return text


def _read_by_gdal(path: Path, layer: str | None) -> geopandas.GeoDataFrame:
    try:
        layers = pyogrio.list_layers(path)
        names = [name for name, kind in layers if kind is not None]
        if layer is not None and layer not in names:
            raise InputError(f"{path}: no layer {layer!r} of geometries; its layers are {first(names, 10)}")
        if layer is None and len(names) > 1:
            kinds = [f"{name} ({pyogrio.read_info(path, layer=name)['crs'] or 'no CRS'})" for name in names]
            raise InputError(
                f"{path}: expected one layer, got {first(kinds, 10)}; choose one as {path}|layername={names[0]}"
            )
        if not names:
            raise InputError(f"{path}: expected a layer of polygons or points, got none")
        return geopandas.read_file(path, layer=layer or names[0], engine="pyogrio")
    except (DataSourceError, DataLayerError) as error:
        raise InputError(f"{path}: cannot be read as a vector layer: {error}") from error


def _read_parquet(path: Path) -> geopandas.GeoDataFrame:
    try:
        return geopandas.read_parquet(path)
    except (pa.ArrowException, ValueError, KeyError) as error:
        raise InputError(f"{path}: cannot be read as GeoParquet: {error}") from error


def _read_csv(path: Path) -> geopandas.GeoDataFrame:
    try:
        with open(path, encoding="utf-8-sig") as file:
            header = file.readline()
        table = pandas.read_csv(path, sep=max(",;\t", key=header.count), encoding="utf-8-sig")
    except (pandas.errors.ParserError, pandas.errors.EmptyDataError, UnicodeDecodeError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as CSV: {error}") from error
    columns = {str(name).strip().lower(): name for name in table.columns}

    def numbers(names: tuple[str, ...]) -> np.ndarray:
        values = np.stack([pandas.to_numeric(table.pop(columns[name]), errors="coerce") for name in names], 1)
        return values.astype(float)

    crs = None
    for name in _WKT:
        if name in columns:
            geometry, crs = _from_wkt(path, table.pop(columns[name]))
            return geopandas.GeoDataFrame(table, geometry=geometry, crs=crs)
    if all(name in columns for name in _CORNERS):
        return geopandas.GeoDataFrame(table, geometry=_polygons(numbers(_CORNERS).reshape(-1, 4, 2)))
    for edges in _BOXES:
        if all(name in columns for name in edges):
            return geopandas.GeoDataFrame(table, geometry=_where_finite(numbers(edges), lambda v: shapely.box(*v.T)))
    if {"x", "y"} <= columns.keys() and any(columns.keys() >= set(sides) for sides in _SIDES):
        raise InputError(
            f"{path}: x and y beside a width and a height may be a corner or the centre; "
            "expected boxes as xmin, ymin, xmax, ymax"
        )
    for axes in _POINTS:
        if all(name in columns for name in axes):
            crs = None if axes == ("x", "y") else "EPSG:4326"
            return geopandas.GeoDataFrame(table, geometry=_where_finite(numbers(axes), shapely.points), crs=crs)
    raise InputError(
        f"{path}: expected a column wkt, or columns x, y, or lon, lat, or xmin, ymin, xmax, ymax, or x1, y1 ... x4, "
        f"y4, got {first(table.columns, 12)}"
    )


def _from_wkt(path: Path, texts: pandas.Series) -> tuple[np.ndarray, str | None]:
    matches = [_SRID.match(text) if isinstance(text, str) else None for text in texts]
    srids = sorted({match["srid"] if match else "" for match, text in zip(matches, texts) if isinstance(text, str)})
    if len(srids) > 1:
        found = [f"EPSG:{srid}" if srid else "none" for srid in srids]
        raise InputError(f"{path}: expected one CRS for all rows, got {first(found, 5)}; reproject them to one")
    plain = [match["wkt"] if match else text if isinstance(text, str) else None for match, text in zip(matches, texts)]
    geometries = np.full(len(plain), None, object)
    for row, text in enumerate(plain):
        try:
            geometries[row] = shapely.from_wkt(text)
        except shapely.errors.GEOSException as error:
            raise InputError(f"{path}: row {row + 1}: not WKT: {text!r:.80}") from error
    return geometries, f"EPSG:{srids[0]}" if srids and srids[0] else None


def _is_geojson(path: Path) -> bool:
    with open(path, "rb") as file:
        start = file.read(4096)
    if b'"FeatureCollection"' in start or b'"Feature"' in start:
        return True
    content = read_json(path) if b'"type"' in start else None
    return isinstance(content, dict) and content.get("type") in ("FeatureCollection", "Feature")


def _from_coco(path: Path, image_name: str | None) -> geopandas.GeoDataFrame:
    content = read_coco(path, check=FileCheck(path, hint=SKIP_HINT), masks=False)
    images = content["images"]
    if len(images) > 1:
        wanted = None if image_name is None else Path(image_name).name
        images = [image for image in images if Path(image["file_name"]).name == wanted]
        if len(images) != 1:
            present = first((image["file_name"] for image in content["images"]), 5)
            raise InputError(f"{path}: expected the boxes of one image, or of {wanted}, got those of {present}")
    names = {category["id"]: category["name"] for category in content["categories"]}
    found = [a for a in content["annotations"] if images and a["image_id"] == images[0]["id"]]
    corners = np.array([_coco_corners(annotation) for annotation in found]).reshape(-1, 4, 2)
    attributes = {"id": [a["id"] for a in found], "class_name": [names[a["category_id"]] for a in found]}
    return geopandas.GeoDataFrame(attributes, geometry=_polygons(corners))


def _coco_corners(annotation: dict) -> np.ndarray:
    if "oriented_box" in annotation:
        return oriented_corners([annotation["oriented_box"]])[0].double().numpy()
    x, y, width, height = annotation["bbox"]
    return np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]], float)


def _from_text(path: Path, size: tuple[int, int] | None) -> geopandas.GeoDataFrame:
    lines = read_text(path).split("\n", 1)
    is_yolo = size is not None and _YOLO_LINE.match(lines[0]) is not None
    labels = read_yolo_obb(path, size) if is_yolo and size is not None else read_dota(path)
    columns = {"class_name": labels.class_names, "difficult": labels.difficult}
    return geopandas.GeoDataFrame(columns, geometry=_polygons(labels.corners.astype(float)))


def _polygons(corners: np.ndarray) -> np.ndarray:
    """(N, 4, 2) -> (N,) polygons."""
    return _where_finite(corners.reshape(-1, 8), lambda values: shapely.polygons(values.reshape(-1, 4, 2)))


def _where_finite(values: np.ndarray, make: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Geometries of the rows that are finite, None for the others."""
    geometries = np.full(len(values), None, object)
    finite = np.isfinite(values).all(1)
    if finite.any():
        geometries[finite] = make(values[finite])
    return geometries
