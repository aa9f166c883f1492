"""COCO files as datasets: what is read, and the message for each mistake."""

import json

import cv2
import numpy as np
import pytest

pytest.importorskip("detectron2")

from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets.coco import load_coco_json
from pycocotools import mask as coco_mask

from insight.config import add_insight_config
from insight.data.datasets import register_from_config
from insight.data.datasets.coco import load_coco, require_classes_of_model, require_same_classes


def content() -> dict:
    """Two images, gaps in the category ids, polygons, both forms of RLE, a crowd, an image with nothing in it."""
    mask = np.zeros((40, 60), np.uint8)
    mask[5:20, 10:30] = 1
    code = coco_mask.encode(np.asfortranarray(mask))
    code["counts"] = code["counts"].decode()
    long = {"size": [40, 60], "counts": [50, 10, 2340]}
    return {
        "images": [
            {"id": 7, "file_name": "b.png", "height": 40, "width": 60},
            {"id": 3, "file_name": "a.png", "height": 40, "width": 60},
        ],
        "categories": [{"id": 90, "name": "tank"}, {"id": 4, "name": "ship"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 90, "bbox": [10, 5, 20, 15], "segmentation": code},
            {"id": 2, "image_id": 7, "category_id": 4, "bbox": [1, 10, 1, 10], "segmentation": long, "iscrowd": 1},
            {"id": 3, "image_id": 7, "category_id": 4, "bbox": [1, 2, 9, 9], "segmentation": [[1, 2, 10, 2, 5, 11]]},
        ],
    }


@pytest.fixture
def write(tmp_path):
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((40, 60, 3), np.uint8))

    def save(value):
        path = tmp_path / "annotations.json"
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        return path, tmp_path

    return save


def test_the_same_as_detectron2(write):
    path, root = write(content())
    dicts, names, ids = load_coco(path, root)
    assert (names, ids) == (["ship", "tank"], [4, 90])
    expected = load_coco_json(str(path), str(root), "test_coco_reference")
    assert [d["file_name"] for d in dicts] == [d["file_name"] for d in expected]
    assert dicts[0]["annotations"] == []
    for mine, theirs in zip(dicts[1]["annotations"], expected[1]["annotations"], strict=True):
        assert {**mine, "iscrowd": 0} == {"iscrowd": 0, **theirs, **({"iscrowd": 0} if "iscrowd" in theirs else {})}


def test_an_image_may_name_its_label_map(write):
    value = content()
    value["images"][0]["sem_seg_file_name"] = "labels/b.png"
    path, root = write(value)
    dicts, _, _ = load_coco(path, root)
    assert dicts[1]["sem_seg_file_name"] == str(root / "labels/b.png") and "sem_seg_file_name" not in dicts[0]


def test_some_classes_in_an_order_of_ones_own(write):
    value = content()
    value["categories"].append({"id": 7, "name": "plane"})
    path, root = write(value)
    dicts, names, ids = load_coco(path, root, ["tank", "plane"])
    assert (names, ids) == (["tank", "plane"], [90, 7])
    assert [a["category_id"] for a in dicts[1]["annotations"]] == [0] and len(dicts) == 2
    with pytest.raises(ValueError, match=r"unknown classes \(the categories are ship, plane, tank\); 1 is wrong: car"):
        load_coco(path, root, ["ship", "car"])
    value["categories"][2]["name"] = "ship"
    path, root = write(value)
    for classes in (["ship"], None):  # None is how training reads it, whose evaluation then names the classes
        with pytest.raises(ValueError, match="category names are not unique; 1 is wrong: ship"):
            load_coco(path, root, classes)
    with pytest.raises(ValueError, match="classes are given twice; 1 is wrong: tank"):
        load_coco(*write(content()), ["tank", "ship", "Tank"])


def broken(change):
    value = content()
    change(value)
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{", "annotations.json: not JSON"),
        ([1], "annotations.json: expected a JSON object with images, annotations and categories"),
        ({"images": [], "annotations": []}, 'expected a list "categories"'),
        (broken(lambda c: c["images"][0].pop("height")), "images need id, file_name, height and width; 1 is wrong"),
        (broken(lambda c: c["annotations"][2].pop("bbox")), "annotations need id, image_id, category_id and bbox"),
        (broken(lambda c: c["categories"].clear()), "no categories"),
        (broken(lambda c: c["annotations"][0].update(category_id=5)),
         r"unknown category_id \(the categories are 4, 90\); 1 is wrong: annotation 1 with category_id 5"),
        (broken(lambda c: c["annotations"][0].update(image_id=5)),
         r"unknown image_id; 1 is wrong: annotation 1 with image_id 5"),
        (broken(lambda c: c["annotations"][0].update(id=2)),
         "annotation ids are not unique; 1 is wrong: annotation 2"),
        (broken(lambda c: c["images"][0].update(file_name="c.png")), "images are missing on disk; 1 is wrong: .*c"),
        (broken(lambda c: c["annotations"][0].update(bbox=[1, 2, 3])),
         r"need bbox \[x, y, width, height\].*wrong: annotation 1"),
        (broken(lambda c: c["annotations"][0].update(bbox=[1, 2, float("nan"), 3])), "need bbox"),
        (broken(lambda c: c["annotations"][2].update(segmentation=[[1, 2, 3]])),
         "polygons or RLE; 1 is wrong: annotation 3"),
        (broken(lambda c: c["images"][0].update(height="40")), "a height and a width in pixels; 1 .* b.png"),
        (broken(lambda c: c["images"][1].update(id=7)), "image ids are not unique; 1 is wrong: image 7"),
        (broken(lambda c: c["categories"][1].update(id=90)), "category ids are not unique; 1 is wrong: 90"),
        (broken(lambda c: c["annotations"][0].update(bbox=[60, 5, 4, 4])),
         "lie outside their image; .* wrong: annotation 1"),
        (broken(lambda c: c["annotations"][2].update(segmentation=[[1, -9, 9, -9, 5, 0]])),
         "lie outside .* wrong: annotation 3"),
        (broken(lambda c: c["images"][0].update(file_name="x" * 5000)), "images are missing on disk; 1 is wrong"),
        (broken(lambda c: c["images"][0].update(sem_seg_file_name=5)), "must be a string; .* b.png"),
        *((broken(lambda c, crowd=crowd: c["annotations"][0].update(iscrowd=crowd)),
           "iscrowd.* as 0 or 1; .* wrong: annotation 1")
          for crowd in (None, "0", 2, [0])),
        *((broken(lambda c, area=area: c["annotations"][0].update(area=area)),
           "area, if any, as a number .* wrong: annotation 1")
          for area in (None, "9", -5, float("nan"))),
        (broken(lambda c: c["annotations"][0].update(bbox=[10**400, 2, 5, 3])), "need bbox"),
        ("[" * 100_000, "annotations.json: its lists are nested too deeply"),
        (broken(lambda c: c["images"][0].update(height=41)),
         "RLE of another size than their image; 2 are wrong: annotation 1, annotation 2"),
        *((broken(lambda c, runs=runs: c["annotations"][1]["segmentation"].update(counts=runs)),
           f"{reason}wrong: annotation 2")
          for reason, runs in (
            ("an RLE whose runs are .* sum to the image's pixels; 1 is ", [1, 2]),
            ("an RLE whose runs are .* sum to the image's pixels; 1 is ", [50, -10, 2360]),
            ("an RLE whose runs are .* sum to the image's pixels; 1 is ", [50.5, 9.5, 2340]),
            ("an RLE whose runs are .* sum to the image's pixels; 1 is ", ["50", "10", "2340"]),
            ("an RLE whose runs are .* sum to the image's pixels; 1 is ", "WYn5"),  # another image's
            ("an RLE whose runs are .* sum to the image's pixels; 1 is ", "not a code"),
            ("an RLE whose runs are .* sum to the image's pixels; 1 is ", "o"),  # ends within a number
            ("an RLE whose runs are .* sum to the image's pixels; 1 is ", "\u20ac"),
            ("segmentation as polygons or RLE; 1 is ", 5),
            ("segmentation as polygons or RLE; 1 is ", {"a": 1}))),
        (broken(lambda c: c["images"][1].update(id="3")),
         "image ids must be all integers or all strings; 1 .*: image 3"),
        (broken(lambda c: c["images"][1].update(id=[3])),
         r"image ids must be all integers .*; 1 is wrong: image \[3\]"),
        (broken(lambda c: c["images"][1].update(file_name=3)), "images need id, file_name, height and width; 1 is"),
        (broken(lambda c: c["categories"][1].update(id="4")), "category ids must be all integers .* wrong: 4"),
        (broken(lambda c: c["categories"][1].update(id={})), "category ids must be all integers .* wrong: {}"),
        (broken(lambda c: c["annotations"][1].update(id="2")),
         "annotation ids must be all integers .* wrong: annotation 2"),
        (broken(lambda c: c["annotations"][1].update(id=[2])), r"annotation ids must be .* wrong: annotation \[2\]"),
        (broken(lambda c: c["annotations"][0].update(image_id=[7])),
         r"unknown image_id; .* annotation 1 with image_id \[7\]"),
        (broken(lambda c: c["annotations"][0].update(category_id={"a": 1})), "unknown category_id"),
    ],
)  # fmt: skip
def test_each_mistake_is_one_line(write, value, message):
    path, root = write(value)
    with pytest.raises(ValueError, match=message) as caught:
        load_coco(path, root)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_annotations_without_area_are_left_out_with_a_warning(write, caplog):
    value = content()
    empty = coco_mask.encode(np.zeros((40, 60), np.uint8, order="F"))
    empty["counts"] = empty["counts"].decode()
    value["annotations"][0]["segmentation"] = empty
    value["annotations"][1]["bbox"] = [4, 4, 0, 5]
    value["annotations"].append({**value["annotations"][2], "id": 9, "segmentation": [[1, 2, 3, 4]]})
    path, root = write(value)
    dicts, _, _ = load_coco(path, root)
    assert len(dicts[1]["annotations"]) == 1
    assert "left out what is wrong: annotations need a box and a mask with an area: 3 (annotation 1, " in caplog.text


def test_rings_without_corners_are_dropped(write, caplog):
    value = content()
    good = value["annotations"][2]["segmentation"][0]
    value["annotations"][2]["segmentation"] = [[], [1, 2, 3, 4], good]
    path, root = write(value)
    dicts, _, _ = load_coco(path, root)
    assert caplog.messages == [
        f"{path}: left out what is wrong: mask polygons need at least three corners: 1 (polygons of annotation 3)"
    ]
    expected, _, _ = load_coco(*write(content()))
    assert dicts == expected


@pytest.mark.parametrize("bare", [0, 2])
@pytest.mark.parametrize("null", [False, True])
def test_annotations_without_mask_beside_others(write, bare, null):
    value = content()
    annotation = value["annotations"][bare]
    del annotation["segmentation"]
    if null:
        annotation["segmentation"] = None
    path, root = write(value)
    message = f"{path}: annotations lack the segmentation that others have; 1 is wrong: annotation {bare + 1}"
    with pytest.raises(ValueError, match=message):
        load_coco(path, root)
    dicts, _, _ = load_coco(path, root, strict=False)
    assert len(dicts[1]["annotations"]) == 2 and all("segmentation" in a for a in dicts[1]["annotations"])


@pytest.mark.parametrize(
    "box",
    [
        [20, 10, float("nan"), 6, 30],
        [20, 10, 0, 6, 30],
        [20, 10, 1e-60, 6, 30],
        [1e300, 10, 8, 6, 30],
        [20, 10, 8, 6, 30, 1],
        [1, 1, 5, 5, 9, 9, 13, 13],
        [1, 1, 1, 1, 1, 1, 1, 1],
        [[1, 1], [9, 1], [9, 5]],
        [[1, 1], [9, 1], [9, 5], [1]],
        "20 10 8 6 30",
        {"cx": 20},
        [],
        None,
    ],
)
def test_oriented_boxes_that_cannot_be_drawn(write, box):
    value = content()
    value["annotations"][0]["oriented_box"] = [20, 10, 8, 6, 30]
    value["annotations"][1]["oriented_box"] = box
    path, root = write(value)
    with pytest.raises(
        ValueError, match="need an oriented_box, if any, that has an area: .*; 1 is wrong: annotation 2; DATASETS.BAD"
    ):
        load_coco(path, root)
    dicts, _, _ = load_coco(path, root, strict=False)
    assert [a.get("oriented_box") for a in dicts[1]["annotations"]] == [[20, 10, 8, 6, 30], None]


@pytest.mark.parametrize("box", [[20, 10, 8, 6, -30], [1, 1, 9, 1, 9, 5, 1, 5], [[1, 1], [9, 5], [9, 1], [1, 5]]])
def test_oriented_boxes_in_each_form(write, box):
    value = content()
    value["annotations"][0]["oriented_box"] = box
    dicts, _, _ = load_coco(*write(value))
    assert dicts[1]["annotations"][0]["oriented_box"] == box


def test_ids_may_be_text(write):
    value = content()
    for section, keys in (("images", ("id",)), ("categories", ("id",)), ("annotations", ("image_id", "category_id"))):
        for entry in value[section]:
            entry.update((key, f"x{entry[key]:02}") for key in keys)
    dicts, names, ids = load_coco(*write(value))
    assert [d["image_id"] for d in dicts] == ["x03", "x07"] and len(dicts[1]["annotations"]) == 3
    assert (names, ids) == (["ship", "tank"], ["x04", "x90"])


def test_what_is_wrong_can_be_skipped(write, caplog):
    value = content()
    good = value["annotations"][2]
    value["images"] += [
        {"id": 8, "file_name": "none.png", "height": 40, "width": 60},
        {"id": 3, "file_name": "b.png", "height": 40, "width": 60},
        {"id": 9, "file_name": "b.png", "height": 0, "width": 60},
        {"id": 10, "file_name": "b.png"},
        "an image",
    ]
    value["annotations"] += [
        {**good, "id": 4, "image_id": 8},  # leaves with its image
        {**good, "id": 5, "image_id": 99},
        {**good, "id": 5, "category_id": 99},
        {**good, "id": 6, "category_id": 99},
        {**good, "id": 7, "bbox": [-30, 2, 9, 9]},
        {**good, "id": 8, "bbox": [1, 2, 9]},
        {**good, "id": 9, "segmentation": {"size": [4, 6], "counts": [0, 24]}},
        {**good, "id": 10, "segmentation": []},  # others have masks
        {**good, "id": 11, "segmentation": [[1, 2, 10, 2, 5, 2]]},  # a line
        {"id": 12},
    ]
    path, root = write(value)
    with pytest.raises(ValueError, match="images need id, file_name, height and width; 2 are wrong"):
        load_coco(path, root)
    with pytest.raises(ValueError, match="; DATASETS.BAD skip leaves out what is wrong$"):
        load_coco(path, root)
    dicts, names, _ = load_coco(path, root, strict=False)
    expected, same_names, _ = load_coco(*write(content()))
    assert names == same_names and dicts == expected
    for reason in (
        "images need id, file_name, height and width: 2 (",
        "image ids are not unique: 1 (image 3)",
        "images need a height and a width in pixels: 1 (b.png)",
        f"images are missing on disk: 1 ({root / 'none.png'})",
        "annotations need id, image_id, category_id and bbox: 1 (",
        "annotation ids are not unique: 1 (annotation 5)",
        "unknown category_id (the categories are 4, 90): 1 (annotation 6 with category_id 99)",
        "unknown image_id: 1 (annotation 5 with image_id 99)",
        "segmentation as polygons or RLE: 1 (annotation 8)",
        "an RLE of another size than their image: 1 (annotation 9)",
        "lie outside their image: 1 (annotation 7)",
        "a box and a mask with an area: 2 (annotation 10, annotation 11)",
    ):
        assert reason in caplog.text
    assert len(caplog.records) == 1 and "\n" not in caplog.messages[0]
    value["images"] = value["images"][2:3]
    with pytest.raises(ValueError, match="no usable image"):
        load_coco(*write(value), strict=False)


def test_empty_segmentations_of_a_file_without_masks_are_no_mistake(write, caplog):
    value = content()
    for annotation in value["annotations"]:
        annotation["segmentation"] = []
    dicts, _, _ = load_coco(*write(value))
    assert len(dicts[1]["annotations"]) == 3 and not caplog.text
    assert not any("segmentation" in a for a in dicts[1]["annotations"])


def test_a_missing_file_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file: .*none.json .*INSIGHT_DATA"):
        load_coco(tmp_path / "none.json", tmp_path)


def config(entries):
    cfg = get_cfg()
    add_insight_config(cfg)
    cfg.DATASETS.COCO = entries
    return cfg


def test_registered_by_config_alone(write):
    path, root = write(content())
    cfg = config([])
    cfg.merge_from_list(["DATASETS.COCO", repr([["test_mine", str(path), str(root)]])])
    register_from_config(cfg)
    register_from_config(cfg)  # a second time is harmless
    try:
        assert len(DatasetCatalog.get("test_mine")) == 2
        assert MetadataCatalog.get("test_mine").thing_classes == ["ship", "tank"]
        assert MetadataCatalog.get("test_mine").thing_dataset_id_to_contiguous_id == {4: 0, 90: 1}
    finally:
        DatasetCatalog.remove("test_mine")
        MetadataCatalog.remove("test_mine")


@pytest.fixture
def registered(write):
    """Register config entries; forget them, and DATASETS.BAD, afterwards."""
    names = set()

    def register(entries, bad="strict"):
        cfg = config(entries)
        cfg.DATASETS.BAD = bad
        names.update(entry[0] for entry in entries)
        register_from_config(cfg)

    yield register
    register_from_config(config([]))
    for name in names:
        if name in DatasetCatalog.list():
            DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)


def test_classes_and_skipping_by_config(write, registered, caplog):
    value = content()
    value["annotations"][0]["image_id"] = 99
    value["categories"][0]["name"] = "Storage_Tank"  # as iSAID's development kit spells it
    path, root = write(value)
    registered([["test_skip", str(path), str(root), ["storage tank", "ship"]]], bad="skip")
    dicts = DatasetCatalog.get("test_skip")
    assert [a["category_id"] for a in dicts[1]["annotations"]] == [1, 1]
    assert MetadataCatalog.get("test_skip").thing_classes == ["storage tank", "ship"]
    assert "unknown image_id: 1 (annotation 1 with image_id 99)" in caplog.text
    registered([["test_skip", str(path), str(root), ["storage tank", "ship"]]])
    with pytest.raises(ValueError, match="unknown image_id"):
        DatasetCatalog.get("test_skip")
    with pytest.raises(ValueError, match="DATASETS.BAD: expected strict or skip, got 'ignore'"):
        registered([], bad="ignore")
    with pytest.raises(ValueError, match="the name 'test_skip' is taken"):
        registered([["test_skip", str(path), str(root), ["ship"]]])


def test_data_sets_used_together_need_the_same_classes(write, registered, tmp_path):
    value = content()
    path, root = write(value)
    other = tmp_path / "other.json"
    value["categories"] = [{"id": 4, "name": "tank"}, {"id": 90, "name": "ship"}]
    other.write_text(json.dumps(value))
    registered([["test_one", str(path), str(root)], ["test_other", str(other), str(root)],
                ["test_set_right", str(other), str(root), ["ship", "tank"]]])  # fmt: skip
    require_same_classes(["test_one", "test_set_right"])
    with pytest.raises(
        ValueError, match="test_one and test_other have different classes or orders.*ship, tank and tank, ship"
    ):
        require_same_classes(["test_one", "test_other"])


def test_a_model_needs_the_classes_in_its_order(write, registered, caplog):
    path, root = write(content())
    registered([["test_model", str(path), str(root)]])
    require_classes_of_model(["Ship", "tank"], "test_model")
    assert "classes" not in caplog.text
    with pytest.raises(ValueError, match="has the classes ship, tank, the model was trained on tank, ship: the same"):
        require_classes_of_model(["tank", "ship"], "test_model")
    with pytest.raises(ValueError, match="test_model has 2 classes \\(ship, tank\\), the model 3"):
        require_classes_of_model(["ship", "tank", "car"], "test_model")
    require_classes_of_model(["boat", "tank"], "test_model")
    assert "was trained on boat, tank: they are matched by position" in caplog.text


def test_wrong_config_entries(write):
    path, root = write(content())
    for entry, message in (
        (
            ["x", str(path), str(root), "ship"],
            r"DATASETS.COCO\[0\]: expected .* optionally followed by a list of classes",
        ),
        (["only", "two"], r'DATASETS.COCO\[0\]: expected \["name", "annotations.json", "image folder"\]'),
        (["x", str(root / "none.json"), str(root)], r"DATASETS.COCO\[0\] \(x\): no such file"),
        (["x", str(path), str(root / "none")], r"DATASETS.COCO\[0\] \(x\): no such folder"),
        (["scenes_train", str(path), str(root)], "the name 'scenes_train' is taken"),
    ):
        with pytest.raises(ValueError, match=message):
            register_from_config(config([entry]))
