"""Polygons of masks, with holes and parts, in the coordinates of a map."""

from collections.abc import Iterable, Iterator

import geopandas
import numpy as np
import shapely
from affine import Affine
from rasterio.features import shapes
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry

from insight.structures.rle import decode_crop, rle_box

from .options import check_outlines

# How far an outline may move, in pixels, when it is straightened: of drawn rectangles, 92 % get four corners again with
# 2, 68 % with 1.
_STRAIGHT = 2.0
_STRIP = 2**20  # pixels of masks that are outlined together


def mask_polygons(
    masks: Iterable[dict],
    transform: Affine | None = None,
    *,
    origin: tuple[int, int] = (0, 0),
    simplify: float = 0.0,
    regularize: bool = False,
) -> list[BaseGeometry]:
    """Outline masks along the edges of their pixels.

    A pixel belongs to the same part as its four neighbours; parts that touch at a corner stay parts of one
    MultiPolygon. All is computed in whole pixels of the scene before the transform is applied once, so that the
    polygon of a mask does not depend on the window that it was found in.

    Args:
        masks: N masks, COCO RLE, for example `Prediction.masks`.
        transform: affine transform from pixels of the scene (x to the right, y down, pixel i covers [i, i + 1)) to
            coordinates of a map; may rotate. None: stay in pixels.
        origin: (x, y) of the masks' first pixel in the scene.
        simplify: how far an outline may move to have fewer corners, in pixels; 0 keeps every step. The polygons stay
            valid, but may overlap slightly where masks share an edge.
        regularize: replace outlines by straight lines at right angles or 45 degrees, and round objects by circles, as
            for buildings and tanks. Needs the package buildingregulariser.

    Returns:
        N valid polygons: Polygon or MultiPolygon, with holes, exteriors counter-clockwise; an empty Polygon for an
        empty mask.

    Raises:
        InputError, MissingDependencyError: as `check_outlines`.
    """
    check_outlines(simplify, regularize)
    polygons = _outlines(list(masks), origin)
    if simplify:
        polygons = shapely.simplify(polygons, simplify, preserve_topology=True)
    if regularize:
        polygons = _regularized(polygons)
    if transform is not None:
        polygons = transform_polygons(polygons, transform)
    return [polygonal(polygon) for polygon in shapely.orient_polygons(polygons)]


def box_polygons(corners: np.ndarray, transform: Affine | None = None) -> list[BaseGeometry]:
    """Make polygons of boxes.

    Args:
        corners: (N, 4, 2) float XY in pixels of the scene.
        transform: see `mask_polygons`.

    Returns:
        N polygons, exteriors counter-clockwise.
    """
    polygons = shapely.polygons(corners)
    if transform is not None:
        polygons = transform_polygons(polygons, transform)
    return list(shapely.orient_polygons(polygons))


def transform_polygons(polygons: np.ndarray, transform: Affine) -> np.ndarray:
    """Apply an affine transform to geometries.

    Args:
        polygons: (N,) array of geometries.
        transform: the transform.

    Returns:
        (N,) array of geometries.
    """

    def apply(points: np.ndarray) -> np.ndarray:
        x, y = points.T
        a, b, c, d, e, f = transform[:6]
        return np.stack([a * x + b * y + c, d * x + e * y + f], 1)

    return shapely.transform(polygons, apply)


def _outlines(masks: list[dict], origin: tuple[int, int]) -> np.ndarray:
    """(N,) polygons in pixels of the scene."""
    boxes = np.array([rle_box(mask) for mask in masks], int).reshape(-1, 4)
    polygons = np.array([Polygon()] * len(masks), object)
    for index in _strips(boxes):
        x, y, width, height = boxes[index].T
        left = np.cumsum(width + 1) - width  # of each crop in a strip that holds them side by side
        strip = np.zeros((height.max(), left[-1] + width[-1]), np.int32)
        for number, (i, start) in enumerate(zip(index, left), 1):
            bx, by, w, h = boxes[i].tolist()
            strip[:h, start : start + w] = decode_crop(masks[i], (bx, by, bx + w, by + h)) * np.int32(number)
        parts: list[list[Polygon]] = [[] for _ in index]
        for found, number in shapes(strip, strip > 0, connectivity=4):
            k = int(number) - 1
            move = (x[k] - left[k] + origin[0], y[k] + origin[1])
            exterior, *holes = (np.array(ring) + move for ring in found["coordinates"])
            parts[k].append(Polygon(exterior, holes))
        for i, of_mask in zip(index, parts):
            outline = of_mask[0] if len(of_mask) == 1 else MultiPolygon(of_mask)
            polygons[i] = outline if outline.is_valid else shapely.make_valid(outline)
    return shapely.normalize(polygons)  # the same first corner, whatever else is in the strip


def _strips(boxes: np.ndarray) -> Iterator[np.ndarray]:
    """Indices of masks that are outlined together, of similar height; one call each would take thrice the time."""
    index = np.argsort(boxes[:, 3], kind="stable")
    index = index[boxes[index, 2] > 0]
    pixels = np.cumsum(boxes[index, 2] * boxes[index, 3])
    yield from (part for part in np.split(index, np.flatnonzero(np.diff(pixels // _STRIP)) + 1) if len(part))


def _regularized(polygons: np.ndarray) -> np.ndarray:
    from buildingregulariser import regularize_geodataframe

    index = np.flatnonzero(~shapely.is_empty(polygons))
    if not len(index):
        return polygons
    straight = regularize_geodataframe(
        geopandas.GeoDataFrame({"index": index}, geometry=polygons[index]),
        parallel_threshold=_STRAIGHT,
        simplify_tolerance=_STRAIGHT,
        num_cores=1,
    )
    polygons = polygons.copy()
    for i, parts in straight.groupby("index").geometry:  # an object that it cannot straighten keeps its outline
        polygons[i] = shapely.make_valid(shapely.union_all(parts.to_numpy()))
    return polygons


def polygonal(geometry: BaseGeometry) -> BaseGeometry:
    """Remove the lines and points that make_valid may leave.

    Args:
        geometry: the geometry.

    Returns:
        Its polygons as one Polygon or MultiPolygon, which may be empty.
    """
    if geometry.geom_type in ("Polygon", "MultiPolygon"):
        return geometry
    parts = [p for p in shapely.get_parts(geometry) if p.geom_type in ("Polygon", "MultiPolygon")]
    return shapely.union_all(parts) if parts else Polygon()
