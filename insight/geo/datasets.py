"""Annotations of georeferenced images as vector layers, and the other way round."""

import contextlib
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas
import pyproj
import rasterio
import shapely
from affine import Affine
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError
from rasterio.features import rasterize

from insight.data.formats.file_check import first
from insight.data.formats.objects import bounds, box_corners_of
from insight.errors import InputError
from insight.runtime.folders import files_under
from insight.structures.rle import encode_crop, masks_to_rle, rle_box, segmentation_to_rle

from .features import feature_table, parse_crs
from .layers import CLASS_COLUMNS, read_layer
from .polygons import box_polygons, mask_polygons, transform_polygons
from .prompts import ImagePlace, are_aligned, box_corners
from .raster import SUFFIXES, needs_warp
from .writers import Writer

_CLASS_COLUMNS = (*CLASS_COLUMNS, "name")


def write_vector(content: dict[str, Any], path: Path, image_root: Path | None) -> Counter[str]:
    """Write the objects of georeferenced images as a vector layer, with the column "image".

    Args:
        content: a COCO dictionary, as `read_coco` returns it. An object without mask becomes the polygon of its box.
        path: the file, see `insight.geo.writers.Writer`. It has the CRS of the first image; objects of images in other
            CRSs are reprojected to it.
        image_root: folder of the images.

    Returns:
        What was lost or changed, with the number of objects, for people.

    Raises:
        OSError: an image cannot be read, or the file cannot be written.
        InputError: the folder of the images is not given, or an image has no CRS.
    """
    if image_root is None:
        raise InputError(f"images: expected the folder of the images, whose coordinates {path.name} needs, got none")
    losses: Counter[str] = Counter()
    names = [category["name"] for category in content["categories"]]
    ids = {category["id"]: i for i, category in enumerate(content["categories"])}
    by_image: dict[Any, list[dict]] = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        by_image[annotation["image_id"]].append(annotation)
    places = [(image, *_place_of(image_root / image["file_name"])) for image in content["images"]]
    crs = places[0][1] if places else None
    with Writer(path, crs) as writer:
        writer.write(_table([], [], [], crs, names, ""))
        for image, image_crs, transform, _ in places:
            objects = [a for a in by_image[image["id"]] if not a.get("iscrowd", 0)]
            losses["crowd regions left out"] += len(by_image[image["id"]]) - len(objects)
            size = (image["height"], image["width"])
            in_pixels = np.array([_polygon(annotation, size) for annotation in objects], object)
            polygons = list(shapely.orient_polygons(transform_polygons(in_pixels, transform))) if len(objects) else []
            classes = [ids[a["category_id"]] for a in objects]
            scores = [a.get("score", np.nan) for a in objects]
            ids_from = writer.rows + 1
            table = _table(polygons, classes, scores, image_crs, names, image["file_name"], ids_from)
            if image_crs != crs:
                table = table.to_crs(crs)
                losses["objects reprojected"] += len(table)
            writer.write(table)
    return losses


def require_georeferenced(images: Iterable[Path]) -> None:
    """Check that images have a CRS, as `write_vector` needs.

    Args:
        images: the files; those that are missing or cannot be read are not checked.

    Raises:
        InputError: an image has none.
    """
    for path in images:
        with contextlib.suppress(OSError):
            _place_of(path)


def read_vector(path: str | os.PathLike, images: Path) -> dict[str, Any]:
    """Read polygons as the masks of objects on georeferenced images.

    Args:
        path: a layer of polygons, see `insight.geo.layers.read_layer`. The class is in the column class_name, class,
            label, category or name; without one of them, or in a row without a value, it is "object".
        images: an image, or a folder of images.

    Returns:
        A COCO dictionary: polygons without holes as polygons, others as RLE, cut at the edge of their image. A polygon
        on several images is an object of each. "left_out" counts rows that lie on no image.

    Raises:
        OSError: a file cannot be read.
        InputError: the layer has no polygon on any image.
    """
    return _on_images(path, images, lambda own, pixels, size: _mask(shapely.make_valid(pixels), size))


def read_vector_boxes(path: str | os.PathLike, images: Path) -> dict[str, Any]:
    """Read polygons as the boxes of objects on georeferenced images.

    Args:
        path, images: see `read_vector`.

    Returns:
        A COCO dictionary with "oriented_box", four corners, where the polygon is not parallel to the axes of the
        layer's CRS or of the image; see `insight.geo.prompts.read_prompts` for polygons that are no boxes.

    Raises:
        OSError, InputError: as `read_vector`.
    """
    return _on_images(path, images, _box)


def _on_images(
    path: str | os.PathLike, images: Path, describe: Callable[[Any, Any, tuple[int, int]], dict[str, Any] | None]
) -> dict[str, Any]:
    """`describe` makes fields of an annotation of a polygon in the layer's CRS and in pixels."""
    layer = read_layer(path)
    if not len(layer.table):
        raise InputError(f"{path}: the layer is empty: expected polygons")
    geometries = shapely.force_2d(layer.table.geometry.to_numpy())
    kinds = {name for name in layer.table.geometry.geom_type.dropna().unique() if "Polygon" not in name}
    if kinds:
        raise InputError(f"{path}: expected a layer of polygons, got {', '.join(sorted(map(str, kinds)))}")
    rows = np.flatnonzero(~(shapely.is_missing(geometries) | shapely.is_empty(geometries)))
    column = next((name for name in _CLASS_COLUMNS if name in layer.table.columns), None)
    named = layer.table[column] if column is not None else pandas.Series([None] * len(geometries), dtype=object)
    classes = named.astype(object).where(named.notna(), "object").astype(str).tolist()
    ids = {name: i for i, name in enumerate(sorted({classes[row] for row in rows}), 1)}
    files = [images] if images.is_file() else files_under(images, SUFFIXES)
    root = images.parent if images.is_file() else images
    found_images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    used = set()
    for file in files:
        crs, transform, size = _place_of(file, needs_crs=False)
        place = ImagePlace(path, crs, transform, size)
        pixels = place.to_pixels(geometries[rows], parse_crs(layer.table.crs), layer.in_pixels)
        image_id = len(found_images) + 1
        name = file.relative_to(root).as_posix()
        found_images.append({"id": image_id, "file_name": name, "height": size[0], "width": size[1]})
        for i in np.flatnonzero(place.touched_by(pixels)):
            fields = describe(geometries[rows[i]], pixels[i], size)
            if fields is not None:
                used.add(rows[i])
                head = {"id": len(annotations) + 1, "image_id": image_id, "category_id": ids[classes[rows[i]]]}
                annotations.append({**head, "iscrowd": 0, **fields})
    if not annotations:
        raise InputError(f"{path}: no polygon lies on the images {first(file.name for file in files)}")
    return {
        "images": found_images,
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for name, i in ids.items()],
        "left_out": {"rows on no image": len(geometries) - len(used)},
    }


def _box(own: Any, pixels: Any, size: tuple[int, int]) -> dict[str, Any] | None:
    if not pixels.convex_hull.area > 0:
        return None
    x1, y1, x2, y2 = pixels.bounds
    fields: dict[str, Any] = {"bbox": [x1, y1, x2 - x1, y2 - y1]}
    if not are_aligned(np.array([own, pixels], object)).any():
        fields["oriented_box"] = box_corners(np.array([pixels], object))[0].ravel().tolist()
    return fields


def _place_of(path: Path, needs_crs: bool = True) -> tuple[pyproj.CRS | None, Affine, tuple[int, int]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)  # an image without a CRS is reported below
            raster = rasterio.open(path)
        with raster:
            crs, transform, size = parse_crs(raster.crs), raster.transform, (raster.height, raster.width)
            if needs_warp(raster):
                raise InputError(
                    f"{path}: its {len(raster.gcps[0])} ground control points give its pixels no place on a map as "
                    f"they are; warp it first: gdalwarp -r bilinear {path.name} warped_{path.name}"
                )
    except RasterioIOError as error:
        raise OSError(f"{path}: cannot be read: {error}") from error
    if needs_crs and crs is None:
        raise InputError(
            f"{path}: has no CRS, which a vector layer needs; expected a GeoTIFF or another georeferenced image"
        )
    return crs, transform, size


def _table(
    polygons: Sequence[Any] | np.ndarray,
    classes: Sequence[int],
    scores: Sequence[float],
    crs: pyproj.CRS | None,
    names: Sequence[str],
    image: str,
    ids_from: int = 1,
) -> geopandas.GeoDataFrame:
    table = feature_table(
        polygons,
        crs,
        class_ids=classes,
        categories=names,
        scores=scores,
        instance_ids=range(ids_from, ids_from + len(polygons)),
    )
    table.insert(len(table.columns) - 1, "image", np.array([image] * len(table), object))
    return table.astype({"class_name": "str", "image": "str"})


def _polygon(annotation: Mapping[str, Any], size: tuple[int, int]) -> Any:
    """In pixels."""
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, dict):
        return mask_polygons([segmentation_to_rle(segmentation, size)])[0]
    if segmentation:
        rings = [shapely.make_valid(shapely.Polygon(np.array(ring, float).reshape(-1, 2))) for ring in segmentation]
        union = shapely.union_all(rings)
        parts = [part for part in shapely.get_parts(union) if part.geom_type == "Polygon"]
        return union if union.geom_type in ("Polygon", "MultiPolygon") else shapely.union_all(parts)
    return box_polygons(box_corners_of(dict(annotation), size)[0][None])[0]


def _mask(polygon: Any, size: tuple[int, int]) -> dict[str, Any] | None:
    """Of a polygon in pixels; None if no part of it is on the image."""
    height, width = size
    polygon = shapely.intersection(polygon, shapely.box(0, 0, width, height))
    parts = [part for part in _polygons_of(polygon) if part.area > 0]
    if not parts:
        return None
    rings = [np.array(part.exterior.coords[:-1]) for part in parts]
    box = bounds(np.concatenate(rings))
    if not any(len(part.interiors) for part in parts):
        return {"bbox": box, "segmentation": [ring.ravel().tolist() for ring in rings]}
    x1, y1 = (int(np.floor(v)) for v in box[:2])
    x2, y2 = (min(edge, int(np.ceil(a + b))) for edge, a, b in zip((width, height), box[:2], box[2:]))
    drawn = rasterize(parts, out_shape=(y2 - y1, x2 - x1), transform=Affine.translation(x1, y1)).astype(bool)
    code = encode_crop(drawn, (x1, y1), size)
    return {"bbox": rle_box(code), "segmentation": masks_to_rle([code])[0]} if drawn.any() else None


def _polygons_of(geometry: Any) -> Iterator[Any]:
    for part in shapely.get_parts(geometry):
        if part.geom_type == "Polygon":
            yield part
        elif hasattr(part, "geoms"):
            yield from _polygons_of(part)
