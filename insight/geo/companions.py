"""Files beside a result: rasters of instance numbers and scores, and a STAC item."""

import contextlib
import datetime
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import rasterio

from insight.errors import InputError

from .features import parse_crs
from .label_rasters import write_label_raster
from .layers import objects_layer, read_layer
from .raster import Raster
from .stac import require_crs, write_stac_item

_ENDINGS = {"labels": "_labels.tif", "scores": "_scores.tif", "stac": ".stac.json"}
COMPANIONS = tuple(_ENDINGS)

_logger = logging.getLogger(__name__)


def parse_companions(text: str) -> list[str]:
    """Parse names of files beside a result.

    Args:
        text: names in `COMPANIONS`, separated by commas; may be empty.

    Returns:
        The names.

    Raises:
        InputError: an unknown name.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in COMPANIONS]
    if unknown:
        raise InputError(f"also: unknown name {unknown[0]!r}; expected {', '.join(COMPANIONS)}, separated by commas")
    return list(dict.fromkeys(names))


def check_companions(names: Sequence[str], raster: Raster) -> None:
    """Check, before objects are found, that files beside the result can be written.

    Args:
        names: names in `COMPANIONS`.
        raster: the scene.

    Raises:
        InputError: a STAC item of a scene without CRS.
    """
    if "stac" in names:
        require_crs(raster.crs)


def have_companions(result: str | os.PathLike, names: Sequence[str]) -> bool:
    """Return whether all files beside a result have been written since the result was.

    Args:
        result: the file of polygons.
        names: names in `COMPANIONS`.
    """
    files = [_path(Path(result), name) for name in names]
    return all(file.is_file() and file.stat().st_mtime_ns >= os.stat(result).st_mtime_ns for file in files)


def write_companions(
    result: str | os.PathLike, raster: Raster, names: Sequence[str], properties: Mapping[str, Any] | None = None
) -> list[Path]:
    """Write files beside a result.

    Args:
        result: a file of polygons that `insight.geo.writers.Writer` has written for the raster.
        raster: the scene.
        names: "labels" for NAME_labels.tif (instance numbers), "scores" for NAME_scores.tif, both cloud-optimised
            GeoTIFFs on the scene's pixels, and "stac" for NAME.stac.json.
        properties: further properties of the STAC item, JSON values.

    Returns:
        The files.

    Raises:
        OSError: a file cannot be read or written.
        InputError: a STAC item of a scene without CRS.
    """
    result = Path(result)
    written: dict[str, Path] = {}
    if {"labels", "scores"} & set(names):
        table = read_layer(objects_layer(result)).table
        table = table.rename(columns={"instance_i": "instance_id"})  # as a shapefile cuts the name
        if table.crs is not None and raster.crs is not None:
            table = table.to_crs(parse_crs(raster.crs))
        for name, column in (("labels", "instance_id"), ("scores", "score")):
            if name in names:
                written[name] = _path(result, name)
                write_label_raster(written[name], table, raster.size, raster.transform, raster.crs, column)
    if "stac" in names:
        path = _path(result, "stac")
        assets = {"scene": raster.path, "objects": result, **written}
        write_stac_item(path, assets, raster.size, raster.transform, raster.crs, taken_at(raster.path), properties)
        written["stac"] = path
    return list(written.values())


def _path(result: Path, name: str) -> Path:
    return result.with_name(f"{result.stem}{_ENDINGS[name]}")


def taken_at(path: Path) -> datetime.datetime:
    """Return when a scene was taken, by its own metadata.

    Args:
        path: the raster.

    Returns:
        The time that the file states; without one that of its last change, which is warned of.

    Raises:
        OSError: the file cannot be read.
    """
    with rasterio.open(path) as raster:
        stated = [raster.tags(ns="IMAGERY").get("ACQUISITIONDATETIME"), raster.tags().get("TIFFTAG_DATETIME")]
    for text in filter(None, stated):
        for form in ("%Y-%m-%d %H:%M:%S", "%Y:%m:%d %H:%M:%S"):
            with contextlib.suppress(ValueError):
                return datetime.datetime.strptime(text.strip()[:19].replace("T", " "), form)
    _logger.warning(f"{path}: does not say when it was taken; the STAC item has the time of its last change")
    return datetime.datetime.fromtimestamp(os.path.getmtime(path), datetime.UTC)
