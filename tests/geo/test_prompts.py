import json
import sqlite3
from pathlib import Path

import geopandas
import numpy as np
import pandas
import pytest
import shapely
from affine import Affine

from insight.errors import InputError
from insight.geo.prompts import read_prompts
from insight.geo.writers import write_layer

UTM = "EPSG:32631"
SIZE = (400, 600)  # height, width
NORTH_UP = Affine(0.5, 0, 480_000, 0, -0.5, 5_700_000)
ROTATED = Affine.translation(480_000, 5_700_000) @ Affine.rotation(20) @ Affine.scale(0.5, -0.5)

SHIP = np.array([(100, 100), (180, 140), (170, 160), (90, 120)], float)  # a rectangle, corners in order


def _on_map(corners: np.ndarray, transform: Affine) -> shapely.Polygon:
    return shapely.Polygon([transform @ tuple(corner) for corner in corners])


def _layer(polygons, transform=NORTH_UP, crs=UTM, **columns) -> geopandas.GeoDataFrame:
    return geopandas.GeoDataFrame(columns, geometry=[_on_map(np.array(p), transform) for p in polygons], crs=crs)


def _box(x1, y1, x2, y2) -> list[tuple[float, float]]:
    return [(x1, y1), (x2, y1), (x2, y2), (x1, y2)]


def _same_corners(got: np.ndarray, expected: np.ndarray, atol: float = 1e-3) -> bool:
    """Whether two quadrilaterals have the same corners, in any order."""
    return all(np.abs(got - corner).sum(1).min() < atol for corner in expected) and len(got) == len(expected)


@pytest.mark.parametrize("suffix", [".gpkg", ".geojson", ".fgb", ".shp", ".parquet", ".json"])
@pytest.mark.parametrize("transform", [NORTH_UP, ROTATED])
def test_oriented_boxes_of_every_format_in_another_crs(tmp_path, suffix, transform):
    table = _layer([SHIP, _box(10, 20, 50, 40)], transform, berth=["a", "b"]).to_crs(4326)
    path = tmp_path / f"boxes{suffix}"
    if suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_file(path, driver="GeoJSON" if suffix == ".json" else None)
    found = read_prompts(path, UTM, transform, SIZE)
    assert found.kind == "oriented_box" and found.boxes is None and found.points is None
    order = found.attributes.berth.tolist()  # FlatGeobuf sorts by place
    assert sorted(order) == ["a", "b"]
    # GeoJSON has seven decimals of a degree, a centimetre.
    assert _same_corners(found.corners[order.index("a")], SHIP, 0.05 if "json" in suffix else 1e-3)
    np.testing.assert_allclose(found.bounds()[order.index("b")], (10, 20, 50, 40), atol=0.05)


def test_boxes_along_the_axes_of_their_crs_are_horizontal(tmp_path):
    path = tmp_path / "boxes.gpkg"
    degrees = [shapely.box(2.7130, 51.4498, 2.7138, 51.4502), shapely.box(2.7144, 51.4496, 2.7145, 51.4498)]
    geopandas.GeoDataFrame({"name": ["a", "b"]}, geometry=degrees, crs=4326).to_file(path)
    found = read_prompts(path, UTM, NORTH_UP, SIZE)
    assert found.kind == "box" and found.corners is None
    there = geopandas.GeoSeries(degrees, crs=4326).to_crs(UTM).affine_transform([2, 0, 0, -2, -960_000, 11_400_000])
    np.testing.assert_allclose(found.boxes, there.bounds, atol=1e-4)
    oriented = read_prompts(path, UTM, NORTH_UP, SIZE, form="oriented_box")
    assert oriented.kind == "oriented_box"
    assert _same_corners(oriented.corners[0], shapely.get_coordinates(there[0])[:4])
    # Drawn in the pixels of a rotated image, they are horizontal too.
    _layer([_box(10, 20, 50, 40)], ROTATED).to_file(path)
    found = read_prompts(path, UTM, ROTATED, SIZE)
    assert found.kind == "box"
    np.testing.assert_allclose(found.boxes, [(10, 20, 50, 40)], atol=1e-4)


def test_polygons_that_are_no_boxes_become_rectangles(tmp_path, caplog):
    centre = np.array([300, 200])
    along, across = np.array([4, 3]) / 5, np.array([-3, 4]) / 5
    ship = [
        centre + 50 * along,
        *(centre + s * 40 * along + t * 10 * across for s, t in ((1, 1), (-1, 1), (-1, -1), (1, -1))),
    ]
    with_extra_corners = np.insert(SHIP, 1, (SHIP[0] + SHIP[1]) / 2, 0)
    _layer([ship, with_extra_corners, SHIP]).to_file(tmp_path / "hulls.gpkg")
    found = read_prompts(tmp_path / "hulls.gpkg", UTM, NORTH_UP, SIZE)
    expected = [centre + u * along + v * across for u, v in ((50, 10), (-40, 10), (-40, -10), (50, -10))]
    assert _same_corners(found.corners[0], np.array(expected))
    assert _same_corners(found.corners[1], SHIP) and _same_corners(found.corners[2], SHIP)
    assert caplog.messages == [
        f"{tmp_path}/hulls.gpkg: 1 of 3 polygons are no boxes: used the smallest rectangles around them"
    ]


def test_points_and_groups_of_points(tmp_path):
    points = [shapely.Point(NORTH_UP @ (10, 20)), shapely.MultiPoint([NORTH_UP @ (30, 40), NORTH_UP @ (50, 60)])]
    geopandas.GeoDataFrame({"n": [1, 2]}, geometry=points, crs=UTM).to_file(tmp_path / "points.geojson")
    found = read_prompts(tmp_path / "points.geojson", UTM, NORTH_UP, SIZE)
    assert found.kind == "point" and found.labels.tolist() == [[1, -1], [1, 1]]
    np.testing.assert_allclose(found.points, [[(10, 20), (0, 0)], [(30, 40), (50, 60)]], atol=0.05)
    np.testing.assert_allclose(found.bounds(), [(10, 20, 10, 20), (30, 40, 50, 60)], atol=0.05)


@pytest.mark.parametrize(
    "header, row, kind",
    [
        ("name,x,y", "a,{0},{1}", "point"),
        ("name;wkt", "a;POINT ({0} {1})", "point"),
        ("name;wkt", "a;SRID=32631;POINT ({0} {1})", "point"),
        ("name;WKT", "a;POLYGON (({0} {1}, {2} {1}, {2} {3}, {0} {3}, {0} {1}))", "box"),
        ("name,xmin,ymin,xmax,ymax", "a,{0},{1},{2},{3}", "box"),
        ("name,x1,y1,x2,y2,x3,y3,x4,y4", "a,{0},{1},{2},{1},{2},{3},{0},{3}", "box"),
    ],
)
def test_csv(tmp_path, header, row, kind):
    (x1, y2), (x2, y1) = NORTH_UP @ (100, 200), NORTH_UP @ (140, 180)
    row = row.replace("SRID=32631;", '"SRID=32631;').replace("})\n", '})"') + ('"' if "SRID" in row else "")
    path = tmp_path / "boxes.csv"
    path.write_text(f"{header}\n{row.format(x1, y2, x2, y1)}\n")
    found = read_prompts(path, UTM, NORTH_UP, SIZE)
    assert found.kind == kind and found.attributes.name.tolist() == ["a"]
    if kind == "box":
        np.testing.assert_allclose(found.boxes, [(100, 180, 140, 200)])
    else:
        np.testing.assert_allclose(found.points, [[(100, 200)]])


def test_csv_of_longitudes(tmp_path):
    lon, lat = geopandas.GeoSeries([shapely.Point(NORTH_UP @ (100, 200))], crs=UTM).to_crs(4326)[0].coords[0]
    (tmp_path / "points.csv").write_text(f"Longitude,Latitude\n{lon},{lat}\n")
    np.testing.assert_allclose(read_prompts(tmp_path / "points.csv", UTM, NORTH_UP, SIZE).points, [[(100, 200)]])


def test_coco_dota_and_yolo_are_in_pixels(tmp_path):
    coco = {
        "images": [{"id": i, "file_name": f"{i}.tif", "height": 400, "width": 600} for i in (1, 2)],
        "categories": [{"id": 7, "name": "ship"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 7, "bbox": [5, 6, 20, 30]},
            {"id": 2, "image_id": 2, "category_id": 7, "bbox": [1, 2, 3, 4], "oriented_box": SHIP.ravel().tolist()},
        ],
    }
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(coco))
    first = read_prompts(path, UTM, NORTH_UP, SIZE, image_name="images/1.tif")
    assert first.kind == "box" and first.boxes.tolist() == [[5, 6, 25, 36]]
    second = read_prompts(path, UTM, NORTH_UP, SIZE, image_name="2.tif")
    assert second.attributes.to_dict("records") == [{"id": 2, "class_name": "ship"}]
    assert _same_corners(second.corners[0], SHIP)
    with pytest.raises(InputError, match="expected the boxes of one image, or of 3.tif, got those of 1.tif, 2.tif"):
        read_prompts(path, UTM, NORTH_UP, SIZE, image_name="3.tif")
    dota = tmp_path / "boxes.txt"
    dota.write_text("100 100 180 140 170 160 90 120 ship 1\n")
    found = read_prompts(dota, UTM, NORTH_UP, SIZE)
    assert _same_corners(found.corners[0], SHIP) and found.attributes.class_name.tolist() == ["ship"]
    shares = (SHIP / (600, 400)).ravel()
    dota.write_text("0 " + " ".join(f"{share:.9f}" for share in shares) + "\n")
    found = read_prompts(dota, UTM, NORTH_UP, SIZE)
    assert _same_corners(found.corners[0], SHIP) and found.attributes.class_name.tolist() == ["0"]


def test_rows_that_are_no_prompts_are_counted(tmp_path, caplog):
    table = _layer([SHIP, _box(-90, 10, -50, 30), _box(590, 10, 700, 30)], n=[0, 1, 2])
    more = geopandas.GeoDataFrame({"n": [3, 4]}, geometry=[None, shapely.Polygon([(480_001, 5_699_999)] * 4)], crs=UTM)
    pandas.concat([table, more]).to_parquet(tmp_path / "boxes.parquet")
    found = read_prompts(tmp_path / "boxes.parquet", UTM, NORTH_UP, SIZE)
    assert found.rows.tolist() == found.attributes.n.tolist() == [0, 2]
    assert found.left_out == {"without geometry": 1, "without area": 1, "outside the image": 1}
    assert caplog.messages == [
        f"{tmp_path}/boxes.parquet: left out 3 of 5 rows: 1 without geometry, 1 without area, 1 outside the image"
    ]


def test_layer_without_crs(tmp_path, caplog):
    path = tmp_path / "boxes.parquet"
    for transform, taken in ((NORTH_UP, "EPSG:32631"), (Affine.identity(), "pixels")):
        caplog.clear()
        _layer([SHIP], transform, crs=None).to_parquet(path)
        assert _same_corners(read_prompts(path, UTM, NORTH_UP, SIZE).corners[0], SHIP)
        assert caplog.messages == [f"{path}: the layer has no CRS; its coordinates are taken as {taken}"]
    caplog.clear()
    assert _same_corners(read_prompts(path, None, None, SIZE).corners[0], SHIP)
    assert not caplog.messages
    _layer([SHIP]).to_parquet(path)
    with pytest.raises(InputError, match="has the CRS EPSG:32631, but the image has none; give the image its CRS"):
        read_prompts(path, None, None, SIZE)


def test_layer_that_lies_elsewhere(tmp_path):
    path = tmp_path / "boxes.gpkg"
    _layer([SHIP + (0, 4000), SHIP + (0, 24_000)]).to_crs(4326).to_file(path)
    # 4000 + 100 - 400 pixels of half a metre below the image's lower edge
    with pytest.raises(InputError, match=r"boxes.gpkg: lies elsewhere: its nearest object, at longitude 2.71\d\d, "
                                         r"latitude 51.43\d\d, is 1.9 km from the image, whose"):  # fmt: skip
        read_prompts(path, UTM, NORTH_UP, SIZE)
    _layer([SHIP + (0, 4000)], crs=None).to_parquet(tmp_path / "boxes.parquet")
    with pytest.raises(InputError, match="lies elsewhere"):
        read_prompts(tmp_path / "boxes.parquet", UTM, NORTH_UP, SIZE)
    (tmp_path / "boxes.txt").write_text("100 4100 180 4140 170 4160 90 4120 ship 1\n")
    with pytest.raises(InputError, match="its nearest object is 3700 pixels outside the image"):
        read_prompts(tmp_path / "boxes.txt", None, None, SIZE)


def test_a_layer_with_a_crs_may_lie_in_the_first_pixel_alone(tmp_path):
    _layer([_box(0, 0, 1, 1)], NORTH_UP).to_file(tmp_path / "first.gpkg")
    np.testing.assert_allclose(
        read_prompts(tmp_path / "first.gpkg", UTM, NORTH_UP, SIZE).boxes, [(0, 0, 1, 1)], atol=1e-4
    )


def test_unusable_layers(tmp_path):
    def refused(path: Path, message: str, kind=InputError) -> None:
        with pytest.raises(kind, match=message):
            read_prompts(path, UTM, NORTH_UP, SIZE)

    refused(tmp_path / "none.gpkg", "no such file: .*none.gpkg", FileNotFoundError)
    table = _layer([SHIP], name=["a"])
    table.iloc[:0].to_parquet(tmp_path / "empty.parquet")
    refused(tmp_path / "empty.parquet", "empty.parquet: the layer is empty: expected boxes or points")
    write_layer(tmp_path / "two.gpkg", table)
    refused(tmp_path / "two.gpkg", r"expected one layer, got objects \(EPSG:32631\), oriented_boxes \(EPSG:32631\); "
                                   r"choose one as .*two.gpkg\|layername=objects")  # fmt: skip
    refused(f"{tmp_path}/two.gpkg|layername=ships", "no layer 'ships' of geometries; its layers are objects, oriented")
    assert len(read_prompts(f"{tmp_path}/two.gpkg|layername=objects", UTM, NORTH_UP, SIZE)) == 1
    for name in ("noise.gpkg", "noise.parquet", "noise.fgb"):
        (tmp_path / name).write_bytes(b"noise" * 100)
        refused(tmp_path / name, f"{name}: cannot be read as ")
    lines = geopandas.GeoDataFrame(geometry=[shapely.LineString([(0, 0), (1, 1)]), table.geometry[0]], crs=UTM)
    lines.to_parquet(tmp_path / "mixed.parquet")
    refused(tmp_path / "mixed.parquet", "expected a layer of polygons or one of points, got LineString, Polygon")
    (tmp_path / "mixed.csv").write_text('wkt\n"SRID=4326;POINT (1 2)"\n"SRID=32631;POINT (1 2)"\nPOINT (1 2)\n')
    refused(tmp_path / "mixed.csv", "expected one CRS for all rows, got none, EPSG:32631, EPSG:4326; reproject them")
    (tmp_path / "odd.csv").write_text("a,b\n1,2\n")
    refused(tmp_path / "odd.csv", "expected a column wkt, or columns x, y, .* got a, b")
    (tmp_path / "sizes.csv").write_text("x,y,w,h\n1,2,3,4\n")
    refused(tmp_path / "sizes.csv", "x and y beside a width and a height .* expected boxes as xmin, ymin, xmax, ymax")
    (tmp_path / "shares.csv").write_text("x1,y1,x2,y2\n0.1,0.1,0.3,0.3\n0.5,0.5,1,1\n")
    refused(tmp_path / "shares.csv", "expected pixels, got coordinates from 0 to 1 alone")
    (tmp_path / "bad.csv").write_text("wkt\nPOINT (1\n")
    refused(tmp_path / "bad.csv", "row 1: not WKT")
    database = sqlite3.connect(tmp_path / "two.gpkg", isolation_level=None)
    database.execute("BEGIN EXCLUSIVE")
    assert len(read_prompts(f"{tmp_path}/two.gpkg|layername=objects", UTM, NORTH_UP, SIZE)) == 1  # as last saved
    database.close()
    with pytest.raises(InputError, match="form: expected box, oriented_box or None, got 'round'"):
        read_prompts(tmp_path / "two.gpkg", UTM, NORTH_UP, SIZE, form="round")
