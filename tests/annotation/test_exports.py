"""Masks of an annotation run in other formats, and vector layers as its source."""

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from insight.annotation.conversion import convert
from insight.annotation.exports import check_exports, export
from insight.annotation.filters import Filters
from insight.annotation.format_names import EXPORTS
from insight.annotation.pixels import read_pixels
from insight.annotation.run import annotate
from insight.annotation.sources import open_source
from insight.errors import InputError
from insight.structures.oriented_boxes import oriented_corners


def test_every_export_holds_every_object(dota, segmenter, filters, tmp_path):
    statistics = annotate(open_source(dota), segmenter, filters, tmp_path / "masks")
    names = [name for name in EXPORTS if name not in ("coco", "gpkg", "geojson", "fgb", "parquet", "shp")]
    for _ in range(2):  # again, over the first
        done = export(tmp_path / "masks", names, dota / "images")
    assert len(done) == len(names) == 7
    for one in done.values():
        assert one.objects == statistics.count("kept") > 0
    assert (tmp_path / "masks/dota/images/a.png").samefile(dota / "images/a.png")
    again = open_source(tmp_path / "masks/dota")  # as a source of boxes
    assert sum(image.count for image in again.images) == statistics.count("kept")
    with pytest.raises(InputError, match="a.png: has no CRS, which a vector layer needs"):
        export(tmp_path / "masks", ["gpkg"], dota / "images")
    with pytest.raises(InputError, match="a.png: has no CRS"):
        check_exports(["cvat", "gpkg"], open_source(dota))
    check_exports(["cvat"], open_source(dota))


def test_yolo_obb_as_source_equals_dota(dota, tmp_path):
    yolo = tmp_path / "yolo"
    (yolo / "labels").mkdir(parents=True)
    (yolo / "images").symlink_to(dota / "images")
    expected = open_source(dota)
    names = [category["name"] for category in expected.categories]
    (yolo / "data.yaml").write_text(json.dumps({"names": names}))
    for image in expected.images:
        boxes = expected.read(image)
        width, height = Image.open(image.path).size
        with open(yolo / "labels" / f"{image.path.stem}.txt", "w") as file:
            for name, corners in zip(boxes.class_names, boxes.corners / (width, height)):
                file.write(f"{names.index(name)} {' '.join(f'{v:.9f}' for v in corners.ravel())}\n")
    found = open_source(yolo)
    assert [image.name for image in found.images] == [image.name for image in expected.images]
    for one, other in zip(found.images, expected.images):
        got, wanted = found.read(one), expected.read(other)
        assert got.class_names == wanted.class_names
        np.testing.assert_allclose(got.corners, wanted.corners, atol=1e-4)


def test_ground_control_points_are_refused_with_advice(tmp_path):
    """Boxes and masks are in pixels of the file, which `insight predict` would warp."""
    geopandas, rasterio = pytest.importorskip("geopandas"), pytest.importorskip("rasterio")
    shapely = pytest.importorskip("shapely")
    points = [rasterio.control.GroundControlPoint(y, x, 5e5 + x, 5e6 - y) for x in (0, 60) for y in (0, 40)]
    profile = {"driver": "GTiff", "count": 3, "height": 40, "width": 60, "dtype": "uint16"}
    with rasterio.open(tmp_path / "scene.tif", "w", **profile) as file:
        file.gcps = points, "EPSG:32632"
        file.write(np.random.default_rng(0).integers(0, 999, (3, 40, 60), dtype=np.uint16))
    box = shapely.box(500_010, 4_999_980, 500_030, 4_999_990)
    geopandas.GeoDataFrame(geometry=[box], crs=32632).to_file(tmp_path / "boxes.gpkg")
    for refused in (
        lambda: open_source(tmp_path / "boxes.gpkg", tmp_path / "scene.tif"),
        lambda: convert(tmp_path / "boxes.gpkg", tmp_path / "boxes.json", image_root=tmp_path / "scene.tif"),
    ):
        with pytest.raises(InputError, match=r"4 ground control points .* warp it first: gdalwarp .*warped_scene.tif"):
            refused()
    with pytest.raises(InputError, match="ground control points warp it; warp it first"):
        read_pixels(tmp_path / "scene.tif")


def test_vector_layer_as_source(segmenter, tmp_path):
    geopandas, rasterio = pytest.importorskip("geopandas"), pytest.importorskip("rasterio")
    shapely = pytest.importorskip("shapely")
    from insight.geo.raster import Raster

    transform = rasterio.Affine(0.5, 0, 480_000, 0, -0.5, 5_700_000)
    scene = tmp_path / "scene.tif"
    profile = {"driver": "GTiff", "count": 4, "dtype": "uint16", "height": 120, "width": 160}
    with rasterio.open(scene, "w", crs="EPSG:32631", transform=transform, **profile) as raster:
        raster.write(np.random.default_rng(0).integers(0, 3000, (4, 120, 160), dtype=np.uint16))
    rotated = np.array([(40, 10), (56, 22), (50, 30), (34, 18)])
    boxes = [rotated, np.array([(100, 50), (130, 50), (130, 80), (100, 80)]), rotated + 1000]
    polygons = [shapely.Polygon([transform @ tuple(map(float, corner)) for corner in box]) for box in boxes]
    table = geopandas.GeoDataFrame({"class": ["ship", "tank", "ship"]}, geometry=polygons, crs=32631)
    table.to_crs(4326).to_file(tmp_path / "boxes.gpkg")
    source = open_source(tmp_path / "boxes.gpkg", scene)
    found = source.read(source.images[0])
    assert found.class_names == ["ship", "tank"] and found.oriented.tolist() == [True, False]
    np.testing.assert_allclose(found.corners[0], oriented_corners(rotated)[0], atol=0.01)
    np.testing.assert_array_equal(read_pixels(scene), Raster(scene).read((0, 0, 160, 120)))
    loose = Filters(min_score=0, min_in_box=0, max_area_ratio=10)
    assert annotate(source, segmenter, loose, tmp_path / "masks").count("kept") == 2
    export(tmp_path / "masks", ["gpkg"], scene)
    objects = geopandas.read_file(tmp_path / "masks/instances.gpkg", layer="objects")
    coco = COCO(str(tmp_path / "masks/instances.json"))
    assert objects.crs.to_epsg() == 32631 and objects.class_name.tolist() == ["ship", "tank"]
    for geometry, annotation in zip(objects.geometry, coco.dataset["annotations"]):
        drawn = rasterio.features.rasterize([geometry], out_shape=(120, 160), transform=transform)
        np.testing.assert_array_equal(drawn, coco.annToMask(annotation))
    with pytest.raises(InputError, match="image_root: expected the image or the folder of the images that"):
        open_source(tmp_path / "boxes.gpkg")
