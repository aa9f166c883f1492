import geopandas
import numpy as np
import pandas
import pyproj
import pytest
import shapely
from pyproj import Geod

from insight.errors import InputError
from insight.geo.features import COLUMNS, feature_table, ground_boxes, oriented_boxes

# A ship of 120 x 20 m near Rotterdam, its bow towards 30 degrees north of east, drawn by geodesics.
LENGTH, WIDTH, ANGLE = 120.0, 20.0, 30.0
CRSS = ("EPSG:4326", "EPSG:32631", "EPSG:3857", "EPSG:28992", "EPSG:2263", "EPSG:3035")


def _ship(longitude: float = 4.0, latitude: float = 52.0) -> shapely.Polygon:
    geod = Geod(ellps="WGS84")
    corners = []
    for along, across in ((1, 1), (1, -1), (-1, -1), (-1, 1)):
        ahead = geod.fwd(longitude, latitude, 90 - ANGLE, along * LENGTH / 2)
        corners.append(geod.fwd(*ahead[:2], -ANGLE, across * WIDTH / 2)[:2])
    return shapely.Polygon(corners)


def _table(polygons, crs, **more):
    count = len(polygons)
    return feature_table(polygons, crs, class_ids=[0] * count, categories=["ship"], scores=[0.5] * count, **more)


@pytest.mark.parametrize("crs", CRSS)
def test_measures_are_metres_on_the_ground_in_every_crs(crs):
    longitude, latitude = (-74.0, 40.7) if crs == "EPSG:2263" else (4.0, 52.0)  # New York's is in feet
    ship = geopandas.GeoSeries([_ship(longitude, latitude)], crs="EPSG:4326").to_crs(crs)
    row = _table(ship.tolist(), crs).iloc[0]
    area = abs(Geod(ellps="WGS84").geometry_area_perimeter(_ship(longitude, latitude))[0])
    # The ellipsoid of a national CRS and the way to its datum change lengths by a few parts in 100,000.
    assert row.area_m2 == pytest.approx(area, rel=2e-4) and area == pytest.approx(LENGTH * WIDTH, rel=1e-3)
    assert (row.length_m, row.width_m) == pytest.approx((LENGTH, WIDTH), rel=2e-4)
    assert row.angle == pytest.approx(ANGLE, abs=0.1)


def test_rectangles_are_the_smallest():
    rng = np.random.default_rng(0)
    hulls = np.array([shapely.MultiPoint(rng.normal(0, (40, 9), (30, 2))).convex_hull for _ in range(50)])
    crs = pyproj.CRS("EPSG:32631")
    polygons = shapely.transform(hulls, lambda xy: xy + (500_000, 5_760_000))
    boxes = ground_boxes(polygons, crs)
    smallest = [
        min(shapely.affinity.rotate(h, a, origin=(0, 0)).envelope.area for a in np.arange(0, 90, 0.25)) for h in hulls
    ]
    metres = boxes.length * boxes.width
    assert (metres <= np.array(smallest) / 0.9996**2 * 1.0001).all()  # UTM's scale on its central meridian
    assert shapely.covers(shapely.buffer(boxes.polygons, 1e-6), polygons).all()
    np.testing.assert_allclose(shapely.area(boxes.polygons), metres * 0.9996**2, rtol=1e-4)


def test_columns_attributes_and_empty_polygons():
    attributes = pandas.DataFrame({"berth": ["a", "b"], "score": [7, 8]})
    table = _table([_ship(), shapely.Polygon()], "EPSG:4326", attributes=attributes)
    assert [*table.columns] == [*COLUMNS, "berth", "prompt_score", "geometry"]
    assert table.instance_id.tolist() == [1, 2] and table.prompt_score.tolist() == [7, 8]
    assert table.geometry[1] is None and np.isnan(table.area_m2[1]) and np.isnan(table.length_m[1])
    boxes = oriented_boxes(table)
    assert boxes.geometry[1] is None and len(boxes.geometry[0].exterior.coords) == 5
    assert boxes.drop(columns="geometry").equals(table.drop(columns="geometry"))
    assert [*_table([], None).columns] == [*COLUMNS, "geometry"]


def test_without_crs_metres_are_unknown_and_y_points_down():
    falling = shapely.Polygon([(0, 0), (10, 10), (9, 11), (-1, 1)])  # to the lower right as displayed
    row = _table([falling], None).iloc[0]
    assert np.isnan([row.area_m2, row.length_m, row.width_m]).all() and row.angle == 135


def test_square_has_an_angle_below_90_and_the_date_line_is_crossed():
    tank = shapely.Point(179.9999, 10).buffer(0.001, 1)
    row = _table([tank], "EPSG:4326").iloc[0]
    assert 0 <= row.angle < 90 and row.length_m == pytest.approx(0.001 * 2**0.5 * 111_000, rel=0.02)
    fiji = geopandas.GeoSeries([shapely.box(180, -17, 180.001, -16.999)], crs="EPSG:4326").to_crs("EPSG:3832")
    assert _table(fiji.tolist(), "EPSG:3832").area_m2[0] == pytest.approx(106.5 * 110.7, rel=0.01)


def test_wrong_arguments():
    with pytest.raises(InputError, match="scores: expected 1, one for each polygon, got 2"):
        feature_table([_ship()], None, class_ids=[0], categories=["a"], scores=[1, 2])
    with pytest.raises(InputError, match="crs: expected a CRS such as EPSG:32633, got 'nonsense'"):
        _table([_ship()], "nonsense")
