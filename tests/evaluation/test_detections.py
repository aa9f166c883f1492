"""Files of detections, in both forms, and what is wrong with them."""

import json

import pytest

pytest.importorskip("detectron2")

from helpers.boxes_coco import detections, rle, truth

from insight.evaluation.detections import read_detections

BOX = [1, 2, 10, 8]
TRUTH = truth(("car", BOX), images=(1, 2))
GOOD = detections(("car", BOX, 0.5), ("tank", BOX, 0, 2))


def write(tmp_path, content):
    path = tmp_path / "found.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def with_counts(counts):
    return {**GOOD[0], "segmentation": {**rle(BOX), "counts": counts}}


def coco_file(**changes):
    """As `insight predict` writes it, with ids of its own: images are 8 and 9, tank is 1, car is 2."""
    annotations = [
        {"id": 1, "image_id": 9, "category_id": 2, "bbox": BOX, "score": 0.5, "segmentation": rle(BOX), "area": 80},
        {"id": 2, "image_id": 8, "category_id": 1, "bbox": BOX, "score": 0, "segmentation": rle(BOX), "area": 80},
    ]
    images = [{"id": 8, "file_name": "2.png", "height": 100}, {"id": 9, "file_name": "1.png", "height": 100}]
    categories = [{"id": 1, "name": "tank"}, {"id": 2, "name": "car"}]
    return {"images": images, "annotations": annotations, "categories": categories, **changes}


def test_a_list(tmp_path):
    extra = [{**d, "id": i, "area": 3} for i, d in enumerate(GOOD)]
    assert read_detections(write(tmp_path, extra), TRUTH) == GOOD
    assert read_detections(write(tmp_path, []), TRUTH) == []
    boxes = [{k: v for k, v in d.items() if k != "segmentation"} for d in GOOD]
    assert read_detections(write(tmp_path, boxes), TRUTH) == boxes


def test_a_size_written_as_floats_becomes_whole(tmp_path):
    floats = [
        {**d, "segmentation": {**d["segmentation"], "size": [*map(float, d["segmentation"]["size"])]}} for d in GOOD
    ]
    sizes = [d["segmentation"]["size"] for d in read_detections(write(tmp_path, floats), TRUTH)]
    assert json.dumps(sizes) == json.dumps([d["segmentation"]["size"] for d in GOOD])


def test_a_coco_file_by_names(tmp_path):
    assert read_detections(write(tmp_path, coco_file()), TRUTH) == GOOD


def test_a_truth_that_is_a_part(tmp_path, caplog):
    part = {**TRUTH, "images": TRUTH["images"][:1], "categories": [c for c in TRUTH["categories"] if c["id"] == 3]}
    kept = [d for d in GOOD if d["image_id"] == 1 and d["category_id"] == 3]
    assert 0 < len(kept) < len(GOOD)
    for content in (GOOD, coco_file()):
        assert read_detections(write(tmp_path, content), part, partial=True) == kept
        assert f"left out {len(GOOD) - len(kept)} detections on other images or of other classes" in caplog.text
        caplog.clear()
        with pytest.raises(ValueError, match="1 is wrong"):
            read_detections(write(tmp_path, content), part)
    found = [*GOOD, with_counts("5")]
    assert found[1]["image_id"] == 2
    with pytest.raises(ValueError, match="at index 2$"):  # in the file, not of what is left
        read_detections(write(tmp_path, found), part, partial=True)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[1, 2", "not JSON"),
        ("3", "expected detections: a list of them, or an object with the lists images"),
        ({"images": []}, "expected detections: a list of them, or an object with the lists images"),
        ([1], r"need image_id, category_id, score, and bbox or segmentation; 1 is wrong: 1"),
        ([{"image_id": 1, "category_id": 3, "score": 1}], "and bbox or segmentation; 1 is wrong"),
        (TRUTH, "detections need image_id, category_id, score"),  # the ground truth itself
        ([{**GOOD[0], "image_id": 5}, *GOOD], "an image_id that the ground truth does not have; 1 is wrong: 5"),
        ([{**d, "category_id": 1} for d in GOOD],
         "a category_id that the ground truth does not have; 2 are wrong: 1 at index 0, 1 at index 1"),
        ([{"segmentation": 0, **GOOD[0], "score": float("nan")}], "need a finite score.*: {'score': nan.* at index 0"),
        ([{**GOOD[0], "bbox": [1, 2, 3]}], r"bbox \[x, y, width >= 0, height >= 0\] if any"),
        ([{**GOOD[0], "bbox": [1, 2, 3, -1]}], r"height >= 0\] if any.*: {'score'.* at index 0"),
        ([{**GOOD[0], "segmentation": [[1, 2, 3, 4, 5, 6]]}], "segmentation as RLE if any"),
        ([{**GOOD[0], "segmentation": {**rle(BOX), "size": [9, 9]}}], "an RLE of another size than their image"),
        ([*GOOD, with_counts("not a code")], "not integers of at least 0 that sum .*'not a code'} at index 2"),
        ([*GOOD, with_counts("€")], "that sum to the image's pixels; 1 is .*€.* at index 2"),
        ([with_counts("5")], r"at least 0 that sum .* wrong: {'size': \[100, 120\], 'counts': '5'} at index 0"),
        ([with_counts("0`o0000000000000000o1")], "that sum to the image's pixels; 1 is wrong"),
        ([GOOD[0], {**GOOD[0], "category_id": [1]}],
         r"that are integers or strings; 1 is wrong: {'image_id': 1, 'category_id': \[1\]} at index 1"),
        ([{**GOOD[0], "image_id": {}}], "need an image_id and a category_id that are integers or strings"),
        (coco_file(images=[{"id": [8], "file_name": "2.png"}]), r"images need an id that is .*; 1 is wrong: \[8\]"),
        (coco_file(categories=[{"id": {"a": 1}, "name": "car"}]), "categories need an id that is an integer"),
        (coco_file(annotations=[{**GOOD[0], "image_id": [9]}]), "need an image_id and a category_id that are"),
        (coco_file(images=[{"id": 8, "file_name": "2.png"}, {"id": 9, "file_name": "other.png"}]),
         "images are not among the ground truth's; 1 is wrong: other.png"),
        (coco_file(categories=[{"id": 1, "name": "ship"}, {"id": 2, "name": "car"}]),
         "categories are not among the ground truth's; 1 is wrong: ship"),
        (coco_file(images=[{"id": 8}]), "images need id and file_name"),
        (coco_file(images=[{"id": 8, "file_name": "2.png"}]), "an image_id or category_id that the file does not have"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(tmp_path, content, said):
    with pytest.raises(ValueError, match=said) as caught:
        read_detections(write(tmp_path, content), TRUTH)
    assert str(caught.value).startswith(str(tmp_path / "found.json")) and "\n" not in str(caught.value)


def test_categories_are_known_however_they_are_spelled(tmp_path):
    renamed = {3: "Small-Car", 20: "TANK"}
    spelled = {**TRUTH, "categories": [{**c, "name": renamed.get(c["id"], c["name"])} for c in TRUTH["categories"]]}
    found = coco_file(categories=[{"id": 1, "name": "tank"}, {"id": 2, "name": "small_car"}])
    for partial in (False, True):
        assert read_detections(write(tmp_path, found), spelled, partial) == GOOD


def test_a_slash_is_part_of_a_category(tmp_path):
    names = {3: "car/van", 7: "boat", 20: "truck/van"}
    slashed = {**TRUTH, "categories": [{**c, "name": names[c["id"]]} for c in TRUTH["categories"]]}
    found = coco_file(categories=[{"id": 1, "name": "truck/van"}, {"id": 2, "name": "car/van"}])
    assert read_detections(write(tmp_path, found), slashed) == GOOD


def test_images_that_cannot_be_told_apart(tmp_path):
    twice = {**TRUTH, "images": [{**i, "file_name": f"{i['id']}/same.png"} for i in TRUTH["images"]]}
    with pytest.raises(ValueError, match="the ground truth's images share file_name; 1 .*: same.png"):
        read_detections(write(tmp_path, coco_file()), twice)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file: .*absent.json"):
        read_detections(tmp_path / "absent.json", TRUTH)
