"""Boxes of folders and COCO files: what is read, and the message for each mistake."""

import json
import logging
import math

import numpy as np
import pytest
from PIL import Image

from insight.annotation.sources import open_source


def boxes_of(source):
    return {image.name: source.read(image) for image in source.images}


def test_a_dota_folder(dota):
    source = open_source(dota)
    assert [(i.id, i.name, i.count) for i in source.images] == [(1, "a.png", 4), (2, "b.png", 0), (3, "c.png", 3)]
    assert source.categories == [{"id": 1, "name": "ship"}, {"id": 2, "name": "tank"}] and source.failures == {}
    boxes = boxes_of(source)
    assert boxes["a.png"].ids == [1, 2, 3, 4] and boxes["c.png"].ids == [5, 6, 7]
    assert boxes["a.png"].corners[0].tolist() == [[60, 10], [70, 10], [70, 30], [60, 30]]
    assert boxes["a.png"].oriented.all() and len(boxes["b.png"]) == 0 and boxes["b.png"].corners.shape == (0, 4, 2)
    assert boxes["a.png"].class_names == ["ship", "tank", "ship", "ship"]
    assert boxes["a.png"].given(1) == {"oriented_box": [20, 5, 30, 5, 30, 15, 20, 15]}


def test_what_a_folder_states_is_given_on_unrounded(dota):
    (dota / "labelTxt" / "b.txt").write_text("1054.3 2.15 1060 2 1060 9 1054 9 ship 0\n")
    source = open_source(dota)
    assert source.read(source.images[1]).given(0)["oriented_box"] == [1054.3, 2.15, 1060, 2, 1060, 9, 1054, 9]


def test_some_classes_in_an_order_of_ones_own(dota):
    source = open_source(dota, classes=["tank", "ship"])
    assert source.categories == [{"id": 1, "name": "tank"}, {"id": 2, "name": "ship"}]
    source = open_source(dota, classes=["tank", "tank"])
    assert [image.count for image in source.images] == [1, 0, 2]
    assert boxes_of(source)["c.png"].corners[1, 0].tolist() == [78, 2]
    assert boxes_of(source)["c.png"].ids == [2, 3]
    with pytest.raises(ValueError, match="dota: no box is of class plane; the classes are ship, tank"):
        open_source(dota, classes=["ship", "plane"])


def test_a_label_file_that_cannot_be_read_is_told_and_the_others_count(dota):
    (dota / "labelTxt" / "b.txt").write_text("1 2 3\n")
    source = open_source(dota)
    assert [(i.id, i.name) for i in source.images] == [(1, "a.png"), (3, "c.png")]
    assert list(source.failures) == ["b.png"] and "b.txt, line 1" in source.failures["b.png"]


def test_a_label_file_that_changes_during_the_run(dota):
    source = open_source(dota)
    (dota / "labelTxt" / "a.txt").write_text("")
    with pytest.raises(ValueError, match="a.txt: has 0 boxes now, 4 when the run started"):
        source.read(source.images[0])


def test_a_soda_a_folder(tmp_path):
    for name in ("Images/val", "Annotations/val"):
        (tmp_path / name).mkdir(parents=True)
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(tmp_path / "Images" / "val" / "00001.jpg")
    content = {
        "categories": [{"id": 0, "name": "airplane"}, {"id": 9, "name": "ignore"}],
        "annotations": [{"poly": [1, 1, 5, 1, 5, 4, 1, 4], "category_id": c} for c in (9, 0)],
    }
    (tmp_path / "Annotations" / "val" / "00001.json").write_text(json.dumps(content))
    source = open_source(tmp_path)
    assert source.categories == [{"id": 1, "name": "airplane"}]
    assert [(i.name, i.count) for i in source.images] == [("val/00001.jpg", 1)]
    assert source.read(source.images[0]).class_names == ["airplane"]


def test_a_coco_file_keeps_its_ids(write_coco, caplog):
    with caplog.at_level(logging.WARNING):
        source = open_source(*write_coco())
    assert "boxes.json: left out 1 annotation with iscrowd" in caplog.text
    assert [(i.id, i.name, i.count, i.size) for i in source.images] == [
        (4, "sub/y.png", 1, (60, 80)),
        (9, "z.png", 2, (60, 80)),
    ]
    assert all(image.path.is_file() for image in source.images)
    assert source.categories == [{"id": 3, "name": "ship"}, {"id": 7, "name": "tank", "supercategory": "x"}]
    boxes = boxes_of(source)["z.png"]
    assert boxes.ids == [20, 22] and boxes.class_names == ["ship", "tank"]
    assert boxes.oriented.tolist() == [False, True]
    assert boxes.given(0) == {"bbox": [40, 20, 20, 10]}
    assert boxes.given(1) == {"bbox": [40, 10, 20, 20], "oriented_box": [50, 20, 20, 10, 30]}
    assert boxes.corners[0].tolist() == [[40, 20], [60, 20], [60, 30], [40, 30]]
    # Counter-clockwise as displayed: the side to the right rises.
    right = np.array([math.cos(math.radians(30)), -math.sin(math.radians(30))])
    rightmost = boxes.corners[1][boxes.corners[1] @ right > 50 * right[0] + 20 * right[1]]
    np.testing.assert_allclose(rightmost.mean(0), [50, 20] + 10 * right, atol=1e-4)
    assert [c["id"] for c in open_source(*write_coco(), classes=["ship"]).categories] == [3]


def test_masks_of_a_coco_file_do_not_matter(write_coco):
    annotation = {"image_id": 9, "category_id": 3, "bbox": [1, 2, 3, 4]}
    masks = [[[1, 2, 4, 2, 4, 6]], [], None, "no mask"]
    annotations = [{**annotation, "id": i, "segmentation": mask} for i, mask in enumerate(masks, 1)]
    source = open_source(*write_coco(annotations=annotations))
    assert boxes_of(source)["z.png"].ids == [1, 2, 3, 4] and source.failures == {}


@pytest.mark.parametrize("ids", [[-3, -1], ["b", "a"], [2**70, 0]])
def test_ids_may_be_negative_text_or_long(write_coco, ids):
    annotation = {"image_id": 9, "category_id": 3, "bbox": [1, 2, 3, 4]}
    source = open_source(*write_coco(annotations=[{**annotation, "id": i} for i in ids]), strict=True)
    assert boxes_of(source)["z.png"].ids == ids


def one(**fields):
    return {"annotations": [{"id": 1, "image_id": 9, "category_id": 3, "bbox": [1, 2, 3, 4], **fields}]}


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"oriented_box": [1, 2, 3]}, "annotations need an oriented_box, if any, that has an area"),
        ({"oriented_box": [1, 2, 3, 4, float("nan")]}, "annotations need an oriented_box"),
        ({"oriented_box": "ship"}, "annotations need an oriented_box"),
        ({"oriented_box": [[1, 2], [3]]}, "annotations need an oriented_box"),
        ({"oriented_box": [50, 20, 0, 10, 30]}, "annotations need an oriented_box"),
        ({"bbox": [1, 2, 3]}, "annotations need bbox"),
        ({"bbox": [100, 2, 3, 4]}, "annotations lie outside their image"),
        ({"bbox": [1, 2, 0, 4]}, "annotations need a box and a mask with an area"),
    ],
)
def test_a_wrong_annotation_is_told_and_left_out(write_coco, wrong, reason):
    annotation = {"image_id": 9, "category_id": 3, "bbox": [1, 2, 3, 4]}
    source = open_source(*write_coco(annotations=[{**annotation, "id": 1}, {**annotation, "id": 2, **wrong}]))
    assert boxes_of(source)["z.png"].ids == [1]
    assert [(name.startswith(f"boxes.json, {reason}"), said) for name, said in source.failures.items()] == [
        (True, "left out 1: annotation 2")
    ]


@pytest.mark.parametrize("bbox", [[5, 5, -20, 30], [5, 5, 0, 4]])
def test_a_box_without_area_stops_a_strict_run(write_coco, bbox):
    said = "boxes.json: annotations need a box .* with an area; 1 is wrong: annotation 1; skip_bad=True leaves out"
    with pytest.raises(ValueError, match=f"{said} what is wrong$"):
        open_source(*write_coco(**one(bbox=bbox)), strict=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"categories": [{"id": 3, "name": "ship"}, {"id": 7, "name": "ship"}]}, "category names are not unique"),
        ({"images": "none"}, 'not a COCO file: expected a list "images"'),
    ],
)
def test_a_wrong_coco_file_is_one_line(write_coco, changes, message):
    with pytest.raises(ValueError, match=f"boxes.json: {message}") as caught:
        open_source(*write_coco(**changes))
    assert "\n" not in str(caught.value)


def test_what_is_neither_is_told(dota, write_coco, tmp_path):
    path, images = write_coco()
    with pytest.raises(ValueError, match="^image_root: expected the folder of the images of .*boxes.json, got none$"):
        open_source(path)
    with pytest.raises(ValueError, match="^image_root: .*/absent: no such folder$"):
        open_source(path, tmp_path / "absent")
    with pytest.raises(ValueError, match="^image_root: expected none for a folder"):
        open_source(dota, images)
    with pytest.raises(ValueError, match="a.txt: expected a folder with images/ and labelTxt/"):
        open_source(dota / "labelTxt" / "a.txt")
    with pytest.raises(FileNotFoundError, match="no such file"):
        open_source(tmp_path / "absent.json", images)


def test_an_empty_layer_is_reported(tmp_path):
    geopandas = pytest.importorskip("geopandas")
    pytest.importorskip("rasterio")
    geopandas.GeoDataFrame({"class_name": []}, geometry=[], crs="EPSG:32632").to_file(tmp_path / "none.gpkg")
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match="none.gpkg: the layer is empty: expected polygons"):
        open_source(tmp_path / "none.gpkg", tmp_path / "a.png")
