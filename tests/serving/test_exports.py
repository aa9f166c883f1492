"""Downloads, compared with what pycocotools, shapely and geopandas make of the same objects."""

import io
import zipfile

import pytest

pytest.importorskip("geopandas")
import geopandas
import numpy as np
import shapely
from affine import Affine
from helpers import rasters
from helpers.servers import image_ids, make_settings, new_object, start
from pycocotools import mask as coco_mask
from shapely.geometry import Polygon

SQUARE = [[4, 4], [24, 4], [24, 24], [4, 24]]
HOLE = [[8, 8], [8, 16], [16, 16], [16, 8]]
ROTATED = [[30, 10], [50, 20], [46, 28], [26, 18]]


@pytest.fixture
def annotated(client):
    place = f"/api/images/{image_ids(client)[0]}/objects"
    client.put("/api/classes", json={"classes": ["boat", "ship"]})
    client.post(place, json=new_object(polygons=[SQUARE, HOLE], box=[4, 4, 24, 24]))
    client.post(place, json=new_object(polygons=[], box=None, oriented_box=ROTATED))
    client.post(place, json=new_object(state="candidate"))
    return client


def test_coco(annotated):
    content = annotated.get("/api/export/coco").json()
    assert [image["file_name"] for image in content["images"]] == ["image0.png"]
    assert [category["name"] for category in content["categories"]] == ["boat", "ship"]
    holed, rotated = content["annotations"]
    code = coco_mask.frPyObjects([holed["segmentation"]], 64, 96) if isinstance(
        holed["segmentation"]["counts"], list
    ) else [holed["segmentation"]]  # fmt: skip
    assert coco_mask.area(code)[0] == holed["area"] == 400 - 64
    assert holed["bbox"] == [4, 4, 20, 20]
    assert holed["category_id"] == rotated["category_id"] == 2
    assert rotated["oriented_box"] == [value for corner in ROTATED for value in corner]
    assert "segmentation" not in rotated


def test_zips_of_labels(annotated):
    for kind, expected in (
        ("yolo-seg", "labels/image0.txt"),
        ("yolo-obb", "labels/image0.txt"),
        ("dota", "labelTxt/image0.txt"),
    ):
        reply = annotated.get(f"/api/export/{kind}")
        assert kind in reply.headers["content-disposition"]
        with zipfile.ZipFile(io.BytesIO(reply.content)) as file:
            lines = file.read(expected).decode().splitlines()
            assert not any(name.startswith(("/", "..")) for name in file.namelist())
        assert len(lines) == 2, kind
        if kind == "dota":
            words = lines[1].split()
            assert words[8:] == ["ship", "0"]
            corners = np.array(words[:8], float).reshape(4, 2)
        else:
            numbers = np.array(lines[1].split(), float)
            assert numbers[0] == 1
            corners = numbers[1:].reshape(-1, 2) * (96, 64)
        assert Polygon(corners).symmetric_difference(Polygon(ROTATED)).area < 0.5


def test_geojson_and_geopackage_in_pixels(annotated, tmp_path):
    for kind in ("geojson", "gpkg"):
        reply = annotated.get(f"/api/export/{kind}")
        assert reply.status_code == 200, reply.text
        path = tmp_path / f"objects.{kind}"
        path.write_bytes(reply.content)
        table = geopandas.read_file(path, layer="objects" if kind == "gpkg" else None)
        assert list(table["class_name"]) == ["ship", "ship"]
        assert table.geometry[0].area == 400 - 64
        assert table.geometry[1].symmetric_difference(Polygon(ROTATED)).area < 1e-6
        assert list(table["image"]) == ["image0.png"] * 2


def test_the_spike_of_an_outline_is_no_part_of_its_polygon(client, tmp_path):
    spiked = [[4, 4], [24, 4], [24, 24], [24, 34], [24, 24], [4, 24]]
    client.post(f"/api/images/{image_ids(client)[0]}/objects", json=new_object(polygons=[spiked]))
    path = tmp_path / "objects.geojson"
    path.write_bytes(client.get("/api/export/geojson").content)
    (polygon,) = geopandas.read_file(path).geometry
    assert polygon.geom_type == "Polygon" and polygon.equals(shapely.box(4, 4, 24, 24))


def test_objects_of_rasters_lie_on_the_map(tmp_path, model):
    folder = tmp_path / "images"
    folder.mkdir()
    image = np.random.default_rng(0).integers(0, 4000, (64, 96, 3), np.uint16)
    for name, east in (("a.tif", 500000), ("b.tif", 600000)):
        rasters.write(folder / name, image, transform=Affine(2, 0, east, 0, -2, 4900000))
    with start(make_settings(tmp_path, model)) as client:
        infos = client.get("/api/images").json()
        assert [(one["georeferenced"], one["width"], one["height"]) for one in infos] == [(True, 96, 64)] * 2
        for one in infos:
            assert client.get(f"/api/images/{one['id']}/tiles/0/0/0.jpg").status_code == 200
            client.post(f"/api/images/{one['id']}/objects", json=new_object(polygons=[SQUARE]))
        path = tmp_path / "objects.gpkg"
        path.write_bytes(client.get("/api/export/gpkg").content)
        table = geopandas.read_file(path, layer="objects")
        assert table.crs.to_epsg() == 32632
        assert list(table["instance_id"]) == [1, 2]
        expected = shapely.box(500008, 4900000 - 48, 500048, 4900000 - 8)
        assert table.geometry[0].symmetric_difference(expected).area < 1e-6
        assert table["area_m2"][0] == pytest.approx(1600, rel=0.01)
        path = tmp_path / "b.geojson"
        path.write_bytes(client.get(f"/api/export/geojson?image={infos[1]['id']}").content)
        on_map = geopandas.read_file(path).to_crs(32632).geometry[0]
        assert on_map.symmetric_difference(shapely.box(600008, 4900000 - 48, 600048, 4900000 - 8)).area < 1
        asked = {"image_id": infos[0]["id"], "boxes": [[4, 4, 60, 60]], "format": "geojson"}
        features = client.post("/v1/predict", json=asked).json()["features"]
        x, y = shapely.from_geojson(
            str(features[0]["geometry"]).replace("'", '"').replace("(", "[").replace(")", "]")
        ).centroid.coords[0]
        assert 8 < x < 10
        assert 44 < y < 45


def test_an_export_without_objects(client):
    assert client.get("/api/export/coco").json()["annotations"] == []
    assert client.get("/api/export/gpkg").status_code == 404
    assert client.get("/api/export/shp").status_code == 422
