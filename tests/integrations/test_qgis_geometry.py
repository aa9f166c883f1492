"""What the QGIS plugin computes without QGIS, against shapely and insight.geo."""

import numpy as np
import pytest

pytest.importorskip("geopandas")
import pyproj
import shapely
from helpers.rasters import ROTATED
from insight_masks import geometry

from insight.geo.features import feature_table
from insight.geo.prompts import are_aligned, box_corners
from insight.serving.outlines import mask_outline
from insight.structures.crop_regions import crop_regions
from insight.structures.rle import encode_crop

GEOTRANSFORM = ROTATED.to_gdal()


def random_rings(count=200):
    """Rings of 3 to 9 corners, some of them nearly or exactly rectangles."""
    rng = np.random.default_rng(0)
    for i in range(count):
        if i % 2:
            size, angle = rng.uniform(3, 60, 2), np.radians(rng.choice([0.0, 90.0, rng.uniform(0, 180)]))
            turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            ring = (np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * size / 2) @ turn.T + rng.uniform(0, 500, 2)
            ring = ring[:: rng.choice([-1, 1])]
        else:
            angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 10)))
            ring = np.stack([np.cos(angles), np.sin(angles)], 1) * rng.uniform(5, 30, (len(angles), 1)) + 100
        yield [tuple(point) for point in ring.tolist()]


def test_places_on_the_map_and_back():
    points = [(0.0, 0.0), (10.5, 20.25), (-3.0, 700.0)]
    there = geometry.to_map(GEOTRANSFORM, points)
    np.testing.assert_allclose(there, [ROTATED @ point for point in points])
    np.testing.assert_allclose(geometry.to_pixels(GEOTRANSFORM, there), points, atol=1e-6)


def test_boxes_are_read_as_insight_reads_them():
    for ring in random_rings():
        polygon = shapely.Polygon(ring)
        if polygon.area < 1 or not polygon.is_valid:
            continue
        assert geometry.is_aligned(ring) == are_aligned(np.array([polygon]))[0]
        hull = shapely.Polygon(geometry.convex_hull(ring))
        assert hull.symmetric_difference(polygon.convex_hull).area < 1e-6
        ours = shapely.Polygon(geometry.box_corners(ring))
        theirs = shapely.Polygon(box_corners(np.array([polygon]))[0][0])
        assert ours.area == pytest.approx(theirs.area, rel=1e-3)
        if polygon.area > 0.97 * ours.area:  # around others, several rectangles may be equally small
            assert ours.symmetric_difference(theirs).area < 1e-3 * ours.area
        assert shapely.minimum_rotated_rectangle(polygon).area * (1 + 1e-9) >= (
            shapely.Polygon(geometry.smallest_rectangle(ring)[0]).area
        )


def test_windows_hold_what_the_model_sees_of_the_raster():
    import torch

    rng = np.random.default_rng(1)
    low, sizes = rng.uniform(-20, 2900, (300, 2)), rng.uniform(1, 300, (300, 2))
    boxes = np.concatenate([low, low + sizes], 1)
    regions = crop_regions(torch.tensor(boxes, dtype=torch.float32)).numpy()
    corners = [[(x0, y0), (x1, y0), (x1, y1), (x0, y1)] for x0, y0, x1, y1 in boxes.tolist()]
    groups = geometry.group_boxes(corners, (3000, 3100))
    assert sorted(i for _, members in groups for i in members) == list(range(300))
    for (x0, y0, x1, y1), members in groups:
        assert 0 <= x0 < x1 <= 3100 and 0 <= y0 < y1 <= 3000 and len(members) <= geometry.AT_ONCE
        for i in members:
            seen = np.clip(regions[i], 0, [3100, 3000, 3100, 3000])
            assert x0 <= seen[0] and y0 <= seen[1] and x1 >= seen[2] and y1 >= seen[3]


def test_tiles_cover_a_window_and_their_cores_share_it_out():
    for window in ((0, 0, 100, 100), (7, 30, 5000, 2100), (0, 0, 2049, 2048)):
        found = geometry.tiles(window, 2048, 512)
        rng = np.random.default_rng(2)
        for x, y in rng.uniform(window[:2], window[2:], (300, 2)):
            [(tile, _)] = [(t, c) for t, c in found if c[0] <= x < c[2] and c[1] <= y < c[3]]
            # An object as large as the overlap that has its centre here is whole in the tile, or cut by the window.
            for low, high, first, last, at in zip(tile[:2], tile[2:], window[:2], window[2:], (x, y)):
                assert (low <= at - 256 or low == first) and (at + 256 <= high or high == last)
        assert all(t[2] - t[0] <= 2048 and t[3] - t[1] <= 2048 for t, _ in found)


def test_parts_and_holes_of_outlines():
    mask = np.zeros((40, 50), bool)
    mask[2:20, 3:30] = True
    mask[6:12, 8:14] = False  # a hole, with an island in it
    mask[8:10, 10:12] = True
    mask[25:30, 40:45] = True
    rings = mask_outline(encode_crop(mask, (0, 0), mask.shape))
    found = geometry.parts(rings)
    assert sorted(len(part) for part in found) == [1, 1, 2]
    polygon = shapely.MultiPolygon([(part[0], part[1:]) for part in found])
    y, x = np.mgrid[:40, :50] + 0.5
    assert polygon.is_valid and (shapely.contains_xy(polygon, x, y) == mask).all()
    on_map = geometry.on_map(GEOTRANSFORM, found)
    there = shapely.MultiPolygon([(part[0], part[1:]) for part in on_map])
    assert there.area == pytest.approx(mask.sum() * abs(ROTATED.determinant))
    for part in on_map:
        assert shapely.is_ccw(shapely.LinearRing(part[0])) and part[0][0] == part[0][-1]
        assert not any(shapely.is_ccw(shapely.LinearRing(hole)) for hole in part[1:])


@pytest.mark.parametrize(
    ("epsg", "place", "step"), [(32632, (5e5, 4.9e6), 1.0), (3857, (1e6, 6e6), 1.0), (4326, (9, 44), 1e-5)]
)
def test_measures_are_those_of_insight(epsg, place, step):
    rings = [[(x * step + place[0], y * step + place[1]) for x, y in ring] for ring in random_rings(60)]
    rings = [ring for ring in rings if shapely.Polygon(ring).is_valid]
    same = [0] * len(rings)
    table = feature_table(list(map(shapely.Polygon, rings)), epsg, class_ids=same, categories=["a"], scores=same)
    to_degrees = pyproj.Transformer.from_crs(epsg, 4326, always_xy=True)
    for ring, row in zip(rings, table.itertuples()):
        x0, y0, x1, y1 = geometry.bounds(ring)
        centre = (x0 + x1) / 2, (y0 + y1) / 2
        matrix = geometry.ground_matrix(lambda point: to_degrees.transform(*point), centre, step)
        area, angle, length, width = geometry.measures([[[*ring, ring[0]]]], matrix)
        assert (area, length * width) == pytest.approx((row.area_m2, row.length_m * row.width_m), rel=1e-3)
        if area > 0.99 * length * width:  # a rectangle; others may have several that are equally small
            assert (length, width) == pytest.approx((row.length_m, row.width_m), rel=1e-5, abs=1e-3)
            if length - width > 0.02 * length:
                assert abs((angle - row.angle + 90) % 180 - 90) < 0.01
