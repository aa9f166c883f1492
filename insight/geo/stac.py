"""A STAC item that describes a result, for catalogues of geodata."""

import datetime
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import shapely
from affine import Affine

from insight.errors import InputError
from insight.runtime.atomic_files import atomic_write
from insight.version import __version__

from .features import parse_crs

_MEDIA_TYPES = {
    ".gpkg": "application/geopackage+sqlite3",
    ".geojson": "application/geo+json",
    ".fgb": "application/vnd.flatgeobuf",
    ".parquet": "application/vnd.apache.parquet",
    ".shp": "application/vnd.shp",
    ".tif": "image/tiff; application=geotiff",
    ".tiff": "image/tiff; application=geotiff",
    ".jp2": "image/jp2",
    ".html": "text/html",
    ".json": "application/json",
}
_EXTENSIONS = (
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
)


def require_crs(crs: Any) -> None:
    """Check that a scene has the CRS that a STAC item needs.

    Args:
        crs: CRS of the scene, or None.

    Raises:
        InputError: it has none.
    """
    if crs is None:
        raise InputError("stac: expected a scene with a CRS, got none: an item is found by its longitude and latitude")


def write_stac_item(
    path: str | os.PathLike,
    assets: Mapping[str, str | os.PathLike],
    image_size: tuple[int, int],
    transform: Affine,
    crs: Any,
    time: datetime.datetime,
    properties: Mapping[str, Any] | None = None,
) -> None:
    """Write a STAC item (version 1.1) beside a result.

    Args:
        path: the .json file; the item's id is its name without suffix.
        assets: files by role: "scene" for the image, any other name for a result. They are linked relative to `path`.
        image_size: (height, width) of the scene in pixels.
        transform: affine transform from the scene's pixels to `crs`.
        crs: CRS of the scene in any form that pyproj takes.
        time: when the scene was taken; without a time zone, UTC.
        properties: further properties of the item, as JSON values, such as the model's name.

    Raises:
        InputError: the scene has no CRS, which an item needs.
        OSError: the file cannot be written.
    """
    require_crs(crs)
    path, crs = Path(path), parse_crs(crs)
    height, width = image_size
    corners = np.array([transform @ corner for corner in ((0, 0), (width, 0), (width, height), (0, height))])
    # With points between the corners, as edges are curved in longitude and latitude.
    outline = shapely.segmentize(shapely.Polygon(corners), shapely.Polygon(corners).length / 32)
    to_degrees = pyproj.Transformer.from_crs(crs, 4326, always_xy=True)
    footprint = shapely.transform(outline, lambda xy: np.stack(to_degrees.transform(*xy.T), 1))
    footprint = shapely.orient_polygons(shapely.set_precision(footprint, 1e-8))
    moment = time if time.tzinfo else time.replace(tzinfo=datetime.UTC)
    code = crs.to_authority()
    item = {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(_EXTENSIONS),
        "id": path.stem,
        "geometry": shapely.geometry.mapping(footprint),
        "bbox": list(footprint.bounds),
        "properties": {
            "datetime": moment.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "proj:code": ":".join(code) if code else None,
            **({} if code else {"proj:wkt2": crs.to_wkt()}),
            "proj:shape": [height, width],
            "proj:transform": list(transform[:6]),
            "processing:software": {"insight-seg": __version__},
            **(properties or {}),
        },
        "links": [],
        "assets": {name: _asset(name, Path(file), path.parent) for name, file in assets.items()},
    }
    with atomic_write(path) as file:
        json.dump(item, file, indent=1)


def _asset(name: str, file: Path, folder: Path) -> dict[str, Any]:
    kind = _MEDIA_TYPES.get(file.suffix.lower())
    href = Path(os.path.relpath(file, folder)).as_posix()
    asset = {
        "href": href if href.startswith("../") else f"./{href}",
        "roles": ["data" if name != "scene" else "source"],
    }
    return asset | ({"type": kind} if kind else {})
