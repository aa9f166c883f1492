"""Tables of found objects: their polygons on the map, and what is measured of them on the ground."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import geopandas
import numpy as np
import pandas
import pyproj
import shapely

from insight.errors import InputError
from insight.structures.oriented_boxes import SQUARE_TOLERANCE

_LARGEST_BATCH = 2**20  # numbers in an array of the search for rectangles

COLUMNS = ("instance_id", "class_id", "class_name", "score", "area_m2", "angle", "length_m", "width_m")


class GroundBoxes(NamedTuple):
    """The smallest oriented rectangles around N polygons, on the ground.

    Attributes:
        polygons: (N,) polygons in the coordinates of the map; None for an empty polygon.
        angle: (N,) direction of the longer side in degrees, counter-clockwise from east, at least 0 and below 180, of
            squares below 90. Without a CRS, as displayed with y pointing down.
        length, width: (N,) sides in metres, or in units of the coordinates without a CRS. NaN for an empty polygon.
    """

    polygons: np.ndarray
    angle: np.ndarray
    length: np.ndarray
    width: np.ndarray


def feature_table(
    polygons: Sequence[Any] | np.ndarray,
    crs: Any,
    *,
    class_ids: Sequence[int],
    categories: Sequence[str],
    scores: Sequence[float],
    instance_ids: Sequence[int] | None = None,
    attributes: pandas.DataFrame | None = None,
) -> geopandas.GeoDataFrame:
    """Make the table that every vector file of results holds.

    Args:
        polygons: N polygons in the coordinates of the map, from `mask_polygons`; empty where nothing was found.
        crs: the map's CRS in any form that pyproj takes; None if the coordinates are pixels.
        class_ids: N indices into `categories`.
        categories: names of the classes.
        scores: N numbers.
        instance_ids: N integers, by default 1 to N.
        attributes: N rows that are carried over; columns named like one of the table's get the prefix "prompt_".

    Returns:
        N rows with the columns `COLUMNS`, then the attributes, then the geometry (None for an empty polygon). Areas and
        lengths are metres on the ellipsoid, whatever the CRS, NaN without one; `angle`, `length_m` and `width_m` are
        those of `ground_boxes`.

    Raises:
        InputError: the arguments differ in length, or an unknown CRS.
    """
    geometries = np.array([None if p is None or p.is_empty else p for p in polygons], object)
    count = len(geometries)
    ids = range(1, count + 1) if instance_ids is None else instance_ids
    given = {"class_ids": class_ids, "scores": scores, "instance_ids": ids, "attributes": attributes}
    for name, values in given.items():
        if values is not None and len(values) != count:
            raise InputError(f"{name}: expected {count}, one for each polygon, got {len(values)}")
    crs = parse_crs(crs)
    boxes = ground_boxes(geometries, crs)
    metres = 1.0 if crs is not None else np.nan
    classes = np.asarray(class_ids, np.int64).reshape(-1)
    columns = {
        "instance_id": np.asarray(ids, np.int64).reshape(-1),
        "class_id": classes,
        "class_name": np.array([categories[i] for i in classes.tolist()], object),
        "score": np.asarray(scores, float).reshape(-1).round(5),
        "area_m2": (ground_areas(geometries, crs) * metres).round(3),
        "angle": boxes.angle.round(2) % 180,
        "length_m": (boxes.length * metres).round(3),
        "width_m": (boxes.width * metres).round(3),
    }
    if attributes is not None:
        columns.update({_free_name(str(name)): attributes[name].to_numpy() for name in attributes.columns})
    return geopandas.GeoDataFrame(columns, geometry=geometries, crs=crs)


def oriented_boxes(table: geopandas.GeoDataFrame) -> geopandas.GeoDataFrame:
    """Replace the polygons of a table by the smallest oriented rectangles around them, on the ground.

    Args:
        table: polygons.

    Returns:
        The same rows with rectangles.
    """
    return table.set_geometry(ground_boxes(table.geometry.to_numpy(), table.crs).polygons, crs=table.crs)


def parse_crs(crs: Any) -> pyproj.CRS | None:
    """Parse a CRS.

    Args:
        crs: a CRS of pyproj, rasterio or any text that pyproj takes, or None.

    Returns:
        The CRS without a vertical axis, or None.

    Raises:
        InputError: an unknown CRS.
    """
    if crs is None or crs == "":
        return None
    try:
        return pyproj.CRS.from_user_input(crs).to_2d()
    except pyproj.exceptions.CRSError as error:
        raise InputError(f"crs: expected a CRS such as EPSG:32633, got {crs!r:.80}") from error


def ground_areas(polygons: np.ndarray, crs: pyproj.CRS | None) -> np.ndarray:
    """Compute areas on the ground.

    Args:
        polygons: (N,) polygons or None.
        crs: their CRS.

    Returns:
        (N,) square metres on the ellipsoid, or square units of the coordinates without a CRS. NaN for None.
    """
    scales = np.abs(np.linalg.det(_to_metres(_centres(polygons), crs)))
    return np.where(shapely.is_missing(polygons), np.nan, shapely.area(polygons)) * scales


def ground_boxes(polygons: np.ndarray, crs: pyproj.CRS | None) -> GroundBoxes:
    """Compute the oriented rectangle of least area on the ground around each polygon.

    Args:
        polygons: (N,) polygons or None.
        crs: their CRS.

    Returns:
        The rectangles. A rectangle on the ground is in general none in the coordinates of a geographic CRS.
    """
    centres = _centres(polygons)
    to_metres = _to_metres(centres, crs)
    points, owners = shapely.get_coordinates(shapely.convex_hull(polygons), return_index=True)
    starts = np.searchsorted(owners, np.arange(len(polygons) + 1))
    counts = np.diff(starts)
    corners = np.full((len(polygons), 4, 2), np.nan)
    angle, length, width = (np.full(len(polygons), np.nan) for _ in range(3))
    for count in np.unique(counts[counts > 3]):  # those of as many corners at once
        same = np.flatnonzero(counts == count)
        for index in np.array_split(same, len(same) * count**2 // _LARGEST_BATCH + 1):
            rings = points[starts[index][:, None] + np.arange(count)] - centres[index][:, None]
            rectangles, angle[index], length[index], width[index] = smallest_rectangles(_apply(to_metres[index], rings))
            corners[index] = _apply(np.linalg.inv(to_metres[index]), rectangles) + centres[index][:, None]
    boxes = np.full(len(polygons), None, object)
    found = np.isfinite(length)
    boxes[found] = shapely.orient_polygons(shapely.polygons(corners[found]))
    return GroundBoxes(boxes, angle, length, width)


def smallest_rectangles(rings: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Compute the rectangle of least area around each of N convex rings; one of its sides lies on a side of the ring.

    Args:
        rings: (N, P, 2) XY corners, closed, of rings with an area.

    Returns:
        (N, 4, 2) corners, and (N,) each: the direction of the longer side in degrees from the x axis towards the y axis
        (0 to 180, of squares 0 to 90), the longer side, and the shorter one.
    """
    sides = np.diff(rings, axis=1)
    lengths = np.hypot(sides[..., 0], sides[..., 1])
    usable = lengths > 0
    along = sides / np.where(usable, lengths, 1.0)[..., None]  # (N, E, 2)
    x, y = rings[:, None, :, 0], rings[:, None, :, 1]
    dx, dy = along[..., 0, None], along[..., 1, None]
    u, v = x * dx + y * dy, y * dx - x * dy  # (N, E, P): corners of a ring along and across each of its sides
    sizes = np.stack([np.ptp(u, 2), np.ptp(v, 2)], 2)
    best = np.where(usable, sizes.prod(2), np.inf).argmin(1)
    each = np.arange(len(rings))
    u, v, (dx, dy), size = u[each, best], v[each, best], along[each, best].T, sizes[each, best]
    u = np.stack([u.min(1), u.max(1), u.max(1), u.min(1)], 1)
    v = np.stack([v.min(1), v.min(1), v.max(1), v.max(1)], 1)
    dx, dy = dx[:, None], dy[:, None]
    corners = np.stack([u * dx - v * dy, u * dy + v * dx], 2)
    length, width = size.max(1), size.min(1)
    direction = np.degrees(np.arctan2(dy, dx))[:, 0] + np.where(size[:, 0] >= size[:, 1], 0.0, 90.0)
    square = length - width <= SQUARE_TOLERANCE * length
    return corners, direction % np.where(square, 90.0, 180.0), length, width


def _apply(matrices: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(N, 2, 2) matrices times (N, P, 2) points."""
    x, y = points[..., 0], points[..., 1]
    return np.stack([matrices[:, i, :1] * x + matrices[:, i, 1:] * y for i in (0, 1)], -1)


def _centres(polygons: np.ndarray) -> np.ndarray:
    """(N, 2) of the bounds; zeros for None."""
    bounds = shapely.bounds(polygons).reshape(-1, 4)
    return np.nan_to_num((bounds[:, :2] + bounds[:, 2:]) / 2)


def _to_metres(centres: np.ndarray, crs: pyproj.CRS | None) -> np.ndarray:
    """(N, 2, 2) matrices from differences of coordinates near each centre to metres east and north on the ellipsoid.

    Over the size of an object, a few kilometres at most, a map is linear to one part in a million.
    """
    if crs is None:
        return np.broadcast_to(np.diag([1.0, -1.0]), (len(centres), 2, 2))
    geodetic = crs.geodetic_crs
    if geodetic is None:  # a local one
        return np.broadcast_to(np.eye(2) * crs.axis_info[0].unit_conversion_factor, (len(centres), 2, 2))
    step = 1e-5 if crs.is_geographic else 1 / crs.axis_info[0].unit_conversion_factor
    to_degrees = pyproj.Transformer.from_crs(crs, geodetic, always_xy=True)
    ellipsoid = geodetic.ellipsoid
    assert ellipsoid is not None
    flattening = 1 / ellipsoid.inverse_flattening if ellipsoid.inverse_flattening else 0.0
    eccentricity = flattening * (2 - flattening)  # squared
    latitude = np.radians(to_degrees.transform(*centres.T)[1])
    curvature = 1 - eccentricity * np.sin(latitude) ** 2
    east = ellipsoid.semi_major_metre / np.sqrt(curvature) * np.cos(latitude)
    north = ellipsoid.semi_major_metre * (1 - eccentricity) / curvature**1.5
    matrices = np.empty((len(centres), 2, 2))
    for axis in (0, 1):
        move = np.eye(2)[axis] * step
        after, before = (np.stack(to_degrees.transform(*place.T)) for place in (centres + move, centres - move))
        change = (after - before + 180) % 360 - 180  # also across the date line
        matrices[:, 0, axis], matrices[:, 1, axis] = np.radians(change / (2 * step)) * (east, north)
    return matrices


def _free_name(name: str) -> str:
    return f"prompt_{name}" if name in (*COLUMNS, "geometry") else name
