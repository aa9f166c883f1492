"""Prompts from vector layers: boxes, oriented boxes and points, in pixels of an image."""

import logging
import os
from dataclasses import dataclass
from typing import Any

import geopandas
import numpy as np
import pandas
import pyproj
import shapely
from affine import Affine

from insight.errors import InputError
from insight.structures.boxes import refuse_normalized
from insight.structures.points import FOREGROUND, NOT_A_POINT

from .features import parse_crs, smallest_rectangles
from .layers import read_layer
from .polygons import transform_polygons
from .raster import Raster

BOX, ORIENTED_BOX, POINT = "box", "oriented_box", "point"
_ALIGNED = 0.01  # of its area, by which a box may differ from its bounds and still count as horizontal
_FOUR_CORNERS = 0.01  # the same for a polygon and the quadrilateral that it is taken for

_logger = logging.getLogger(__name__)


class LiesElsewhereError(InputError):
    """No row of a layer lies on an image."""


@dataclass(frozen=True)
class LayerPrompts:
    """N prompts of an image, all of one kind, in pixels of the image.

    Args:
        kind: "box", "oriented_box" or "point".
        boxes: (N, 4) float64 XYXY, for the kind "box"; else None.
        corners: (N, 4, 2) float64 XY, for the kind "oriented_box"; else None.
        points: (N, P, 2) float64 XY, for the kind "point"; else None.
        labels: (N, P) int64, 1, or -1 where an object has fewer points; None without points.
        attributes: N rows, those of the layer.
        rows: (N,) int64 positions of the prompts in the layer.
        left_out: numbers of the layer's rows that are no prompts, by reason.
    """

    kind: str
    boxes: np.ndarray | None
    corners: np.ndarray | None
    points: np.ndarray | None
    labels: np.ndarray | None
    attributes: pandas.DataFrame
    rows: np.ndarray
    left_out: dict[str, int]

    def __len__(self) -> int:
        return len(self.rows)

    def bounds(self) -> np.ndarray:
        """Compute the horizontal box around each prompt.

        Returns:
            (N, 4) float64 XYXY, pixels.
        """
        if self.boxes is not None:
            return self.boxes
        if self.corners is not None:
            return np.concatenate([self.corners.min(1), self.corners.max(1)], 1)
        assert self.points is not None and self.labels is not None
        points = np.where((self.labels == NOT_A_POINT)[..., None], np.nan, self.points)
        return np.concatenate([np.nanmin(points, 1), np.nanmax(points, 1)], 1).reshape(-1, 4)


def read_prompts(
    path: str | os.PathLike,
    crs: Any,
    transform: Affine | None,
    image_size: tuple[int, int],
    *,
    form: str | None = None,
    image_name: str | None = None,
) -> LayerPrompts:
    """Read prompts of an image from a layer of polygons or points in any CRS.

    A quadrilateral is an oriented box as it is. Any other polygon stands for the smallest rectangle around it, which
    is warned of with their number. If all boxes of the layer are parallel to the axes, of the layer's CRS or of the
    image, they are horizontal boxes, and in the image the bounds of their corners.

    A layer without a CRS is taken to be in the image's, or in pixels if it does not touch the image otherwise; COCO,
    DOTA and YOLO-OBB files are always in pixels.

    Args:
        path: the layer, see `insight.geo.layers.read_layer`.
        crs: CRS of the image in any form that pyproj takes, or None.
        transform: affine transform from pixels of the image to `crs`; None for pixel coordinates.
        image_size: (height, width) of the image in pixels.
        form: "box" to use the horizontal boxes around polygons, "oriented_box" to keep all corners; None to decide as
            above.
        image_name: file name of the image, which selects the boxes of a COCO file of several images.

    Returns:
        The prompts, in the order of the layer. Rows that lie outside the image, or have no area or no geometry, are
        left out, which is warned of with their numbers.

    Raises:
        OSError: the layer is missing.
        LiesElsewhereError: no row lies on the image; the message says how far the nearest is.
        InputError: the layer cannot be read, is empty, has a CRS that the image lacks, or holds geometries of several
            or other kinds.
    """
    if form not in (None, BOX, ORIENTED_BOX):
        raise InputError(f"form: expected {BOX}, {ORIENTED_BOX} or None, got {form!r:.80}")
    layer = read_layer(path, image_name, image_size)
    table = layer.table
    if not len(table):
        raise InputError(f"{path}: the layer is empty: expected boxes or points")
    geometries = shapely.force_2d(table.geometry.to_numpy())
    present = ~(shapely.is_missing(geometries) | shapely.is_empty(geometries))
    kind = _kind(path, geometries[present])
    left_out = {"without geometry": int((~present).sum())}
    image_crs, layer_crs = parse_crs(crs), parse_crs(table.crs)
    place = ImagePlace(path, image_crs, transform or Affine.identity(), image_size)
    rows = np.flatnonzero(present)
    pixels = place.to_pixels(geometries[rows], layer_crs, layer.in_pixels)
    if kind != POINT:
        flat = ~(shapely.area(shapely.convex_hull(pixels)) > 0)
        left_out["without area"] = int(flat.sum())
        rows, pixels = rows[~flat], pixels[~flat]
        if not len(rows):
            raise InputError(f"{path}: expected polygons with an area, got none")
    if layer_crs is None:
        refuse_normalized(shapely.get_coordinates(pixels), str(path))
    on_image = place.touched_by(pixels)
    if not on_image.any():
        raise LiesElsewhereError(f"{path}: lies elsewhere: {place.distance_to(pixels)}")
    left_out["outside the image"] = int((~on_image).sum())
    rows, pixels = rows[on_image], pixels[on_image]
    boxes = corners = points = labels = None
    if kind == POINT:
        points, labels = _points(pixels, image_size)
    else:
        own = geometries[rows]
        if form is None:
            aligned = are_aligned(own) | are_aligned(pixels)
            kind = BOX if aligned.all() else ORIENTED_BOX
        else:
            kind = form
        if kind == BOX:
            boxes = shapely.bounds(pixels)
        else:
            corners, is_box = box_corners(pixels)
            unlike = int((~is_box).sum())
            if unlike:
                _logger.warning(f"{path}: {unlike} of {len(rows)} polygons are no boxes: used the smallest rectangles "
                                "around them")  # fmt: skip
    left_out = {reason: count for reason, count in left_out.items() if count}
    if left_out:
        counts = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        _logger.warning(f"{path}: left out {sum(left_out.values())} of {len(table)} rows: {counts}")
    attributes = pandas.DataFrame(table.drop(columns=table.geometry.name)).iloc[rows].reset_index(drop=True)
    return LayerPrompts(kind, boxes, corners, points, labels, attributes, rows, left_out)


def prompts_on(raster: Raster, path: str | os.PathLike) -> LayerPrompts:
    """Read prompts of a raster from a layer.

    Args:
        raster: the scene.
        path: the layer, as in `read_prompts`.

    Returns:
        The prompts, in pixels of the raster's file, whatever it is resampled to.

    Raises:
        OSError, InputError: as `read_prompts`.
    """
    return read_prompts(path, raster.crs, raster.file_transform, raster.file_size, image_name=raster.path.name)


class ImagePlace:
    """Where an image lies, and the way to its pixels.

    Args:
        path: the layer that is read, for messages.
        crs: CRS of the image, or None.
        transform: from pixels of the image to `crs`.
        image_size: (height, width) of the image in pixels.
    """

    def __init__(self, path, crs: pyproj.CRS | None, transform: Affine, image_size: tuple[int, int]):
        self._path, self._crs, self._transform, self._size = path, crs, transform, image_size
        height, width = image_size
        self._outline = shapely.box(0, 0, width, height)

    def to_pixels(self, geometries: np.ndarray, crs: pyproj.CRS | None, in_pixels: bool) -> np.ndarray:
        """Convert the layer's geometries.

        Args:
            geometries: (N,) geometries of the layer.
            crs: CRS of the layer, or None.
            in_pixels: they are in pixels already.

        Returns:
            (N,) geometries in pixels of the image.

        Raises:
            InputError: the layer has a CRS and the image none.
        """
        if in_pixels:
            return geometries
        if crs is not None and self._crs is None:
            raise InputError(f"{self._path}: has the CRS {crs.to_string()}, but the image has none; give the image its "
                             "CRS and transform, or a layer in pixels")  # fmt: skip
        if crs is not None and crs != self._crs:
            geometries = geopandas.GeoSeries(geometries, crs=crs).to_crs(self._crs).to_numpy()
        pixels = transform_polygons(geometries, ~self._transform)
        if crs is None and self._crs is not None:
            on_map = self.touched_by(pixels).any()
            taken = "pixels" if not on_map and self.touched_by(geometries).any() else self._crs.to_string()
            _logger.warning(f"{self._path}: the layer has no CRS; its coordinates are taken as {taken}")
            if taken == "pixels":
                return geometries
        return pixels

    def touched_by(self, pixels: np.ndarray) -> np.ndarray:
        """Return whether each of (N,) geometries in pixels lies on the image at least in part, (N,) bool."""
        height, width = self._size
        bounds = shapely.bounds(pixels)
        inside = (bounds[:, 2] > 0) & (bounds[:, 3] > 0) & (bounds[:, 0] < width) & (bounds[:, 1] < height)
        are_points = shapely.get_dimensions(pixels) == 0
        on_edge = shapely.intersects(pixels, self._outline)
        return np.where(are_points, on_edge, inside) & np.isfinite(bounds).all(1)

    def distance_to(self, pixels: np.ndarray) -> str:
        """Say how far the nearest of (N,) geometries in pixels is from the image."""
        finite = np.isfinite(shapely.bounds(pixels)).all(1)
        if not finite.any():
            return "its coordinates have no place in the CRS of the image"
        there = pixels[finite]
        nearest = there[int(np.argmin(shapely.distance(there, self._outline)))]
        line = shapely.shortest_line(self._outline, nearest)
        if self._crs is None or self._crs.geodetic_crs is None:
            return f"its nearest object is {line.length:.0f} pixels outside the image"
        degrees = pyproj.Transformer.from_crs(self._crs, self._crs.geodetic_crs, always_xy=True)
        on_map = shapely.get_coordinates(transform_polygons(np.array([line], object), self._transform))
        (lon1, lon2), (lat1, lat2) = degrees.transform(*on_map.T)
        geod = self._crs.get_geod()
        metres = geod.inv(lon1, lat1, lon2, lat2)[2] if geod else np.nan
        if not np.isfinite(metres):
            return "its coordinates have no place in the CRS of the image"
        distance = f"{metres / 1000:.1f} km" if metres >= 1000 else f"{metres:.0f} m"
        return (
            f"its nearest object, at longitude {lon2:.4f}, latitude {lat2:.4f}, is {distance} from the image, whose "
            f"nearest edge is at {lon1:.4f}, {lat1:.4f}"
        )


def _kind(path, geometries: np.ndarray) -> str:
    """POINT, or BOX for polygons."""
    if not len(geometries):
        raise InputError(f"{path}: expected polygons or points, got rows without geometry only")
    kinds = {str(name) for name in geopandas.GeoSeries(geometries).geom_type.unique()}
    if kinds <= {"Polygon", "MultiPolygon"}:
        return BOX
    if kinds <= {"Point", "MultiPoint"}:
        return POINT
    raise InputError(f"{path}: expected a layer of polygons or one of points, got {', '.join(sorted(kinds))}")


def are_aligned(polygons: np.ndarray) -> np.ndarray:
    """Return whether each of (N,) polygons fills its bounds, (N,) bool."""
    bounds = shapely.bounds(polygons)
    around = (bounds[:, 2:] - bounds[:, :2]).prod(1)
    return shapely.area(polygons) >= (1 - _ALIGNED) * around


def box_corners(polygons: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Take polygons for oriented boxes.

    Args:
        polygons: (N,) polygons with an area.

    Returns:
        (N, 4, 2) corners, those of the polygon if it is a quadrilateral, else of the smallest rectangle around it; and
        (N,) bool, whether it is a quadrilateral.
    """
    corners, is_box = np.empty((len(polygons), 4, 2)), np.ones(len(polygons), bool)
    for i, polygon in enumerate(polygons):
        hull = polygon.convex_hull
        ring = shapely.get_coordinates(hull)
        if len(ring) != 5:  # corners between others on a straight side
            ring = shapely.get_coordinates(shapely.simplify(hull, _FOUR_CORNERS * hull.length / 4))
        filled = polygon.area >= (1 - _FOUR_CORNERS) * hull.area
        if len(ring) == 5 and filled and abs(shapely.Polygon(ring).area - hull.area) <= _FOUR_CORNERS * hull.area:
            corners[i] = ring[:4]
        else:
            corners[i] = smallest_rectangles(shapely.get_coordinates(hull)[None])[0][0]
            is_box[i] = False
    return corners, is_box


def _points(geometries: np.ndarray, image_size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(N, P, 2) points and (N, P) labels; points outside the image count as none."""
    height, width = image_size
    found, owners = shapely.get_coordinates(geometries, return_index=True)
    inside = ((found >= 0) & (found <= (width, height))).all(1)
    found, owners = found[inside], owners[inside]
    counts = np.bincount(owners, minlength=len(geometries))
    position = np.arange(len(found)) - np.repeat(np.cumsum(counts) - counts, counts)
    points = np.zeros((len(geometries), counts.max(), 2))
    labels = np.full(points.shape[:2], NOT_A_POINT)
    points[owners, position], labels[owners, position] = found, FOREGROUND
    return points, labels
