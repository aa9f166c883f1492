"""Rotation as CVAT, Label Studio, Roboflow and Detectron2 store it, against rectangles that OpenCV turns and draws."""

import json

import cv2
import numpy as np
import pytest

from insight.data.formats.coco import read_coco
from insight.errors import InputError
from insight.structures.oriented_boxes import oriented_corners

HEIGHT, WIDTH = 240, 320
HORIZONTAL = (110, 60, 90, 40)  # x, y, width, height before it is rotated
ANGLES = (17, 60, 90, 135, 205, 300)


def drawn(clockwise: float, around: tuple[float, float]) -> np.ndarray:
    """(H, W) bool: the rectangle HORIZONTAL, rotated around a point by degrees clockwise as displayed."""
    x, y, w, h = HORIZONTAL
    image = np.zeros((HEIGHT, WIDTH), np.uint8)
    image[y : y + h, x : x + w] = 255
    point = around[0] - 0.5, around[1] - 0.5  # OpenCV's pixel centres are integers
    turn = cv2.getRotationMatrix2D(point, -clockwise, 1)
    return cv2.warpAffine(image, turn, (WIDTH, HEIGHT)) > 127


def covered(box) -> np.ndarray:
    """(H, W) bool: the pixels of an oriented box."""
    image = np.zeros((HEIGHT, WIDTH), np.uint8)
    corners = oriented_corners([box])[0].numpy()
    cv2.fillPoly(image, [np.rint((corners - 0.5) * 256).astype(np.int32)], 1, shift=8)
    return image > 0


def agrees(annotation: dict, truth: np.ndarray) -> bool:
    found = covered(annotation["oriented_box"])
    rows, columns = np.nonzero(truth)
    x, y, w, h = annotation["bbox"]
    around = np.abs(np.array([x, y, x + w, y + h]) - [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    return (found & truth).sum() / (found | truth).sum() > 0.94 and around.max() < 1.5


CENTRE = (HORIZONTAL[0] + HORIZONTAL[2] / 2, HORIZONTAL[1] + HORIZONTAL[3] / 2)


@pytest.fixture
def read(tmp_path):
    def read(annotations, **more):
        content = {
            "images": [{"id": 1, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}],
            "annotations": [{"id": i, "image_id": 1, "category_id": 1, **a} for i, a in enumerate(annotations, 1)],
            "categories": [{"id": 1, "name": "ship"}],
        }
        path = tmp_path / "boxes.json"
        path.write_text(json.dumps(content))
        return read_coco(path, **more)["annotations"]

    return read


@pytest.mark.parametrize("angle", ANGLES)
def test_cvat(read, angle):
    rotated, upright, mask = read([
        {"bbox": [*HORIZONTAL], "attributes": {"occluded": False, "rotation": float(angle)}},
        {"bbox": [1, 2, 30, 40], "attributes": {"rotation": 0.0}},
        {"bbox": [1, 2, 30, 40], "attributes": {}},
    ])  # fmt: skip
    assert agrees(rotated, drawn(angle, CENTRE))
    assert upright["bbox"] == [1, 2, 30, 40] and upright["oriented_box"] == [16, 22, 30, 40, 0]
    assert "oriented_box" not in mask


def test_cvat_without_any_rotation_has_horizontal_boxes(read):
    (annotation,) = read([{"bbox": [*HORIZONTAL], "attributes": {"rotation": 0.0}}])
    assert "oriented_box" not in annotation


@pytest.mark.parametrize("rotation", ["90", None, True, [30], float("nan")])
def test_an_attribute_of_that_name_that_is_no_angle(read, rotation):
    (annotation,) = read([{"bbox": [*HORIZONTAL], "attributes": {"rotation": rotation}}])
    assert annotation["bbox"] == [*HORIZONTAL] and "oriented_box" not in annotation


def test_the_box_of_a_mask_is_around_it_whatever_its_attributes(read):
    ring = [20, 20, 60, 20, 60, 50, 40, 70, 20, 50]
    (annotation,) = read([{"bbox": [20, 20, 40, 50], "segmentation": [ring], "attributes": {"rotation": 30.0}}])
    assert annotation["bbox"] == [20, 20, 40, 50] and "oriented_box" not in annotation


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("mode", [{"bbox_mode": 4}, {}])
def test_detectron2s_box_mode(read, angle, mode):
    (annotation,) = read([{"bbox": [*CENTRE, *HORIZONTAL[2:], angle], **mode}])
    assert agrees(annotation, drawn(-angle, CENTRE))


@pytest.mark.parametrize("angle", ANGLES)
@pytest.mark.parametrize("masks", [True, False])
def test_roboflows_rings_of_four_corners(read, angle, masks):
    truth = drawn(angle, CENTRE)
    corners = cv2.boxPoints((CENTRE, HORIZONTAL[2:], angle)).round(2)
    box = [*corners.min(0).tolist(), *np.ptp(corners, 0).tolist()]
    ring, other = corners.ravel().tolist(), [9, 9, 59, 9, 59, 39, 9, 39, 9, 9]
    annotations = [{"bbox": box, "segmentation": [ring]}, {"bbox": [9, 9, 50, 30], "segmentation": [other]}]
    found = read(annotations, masks=masks)
    if angle == 90:  # nothing is rotated
        assert not any("oriented_box" in a for a in found)
        return
    assert agrees(found[0], truth) and found[1]["oriented_box"] == other[:8]
    assert all(("segmentation" in a) == masks for a in found)
    annotations.append({"bbox": [1, 1, 8, 8], "segmentation": [[1, 1, 9, 1, 4, 9]]})  # so they are masks
    assert not any("oriented_box" in a for a in read(annotations, masks=masks))


def label_studio(results, **more):
    return [{"id": 7, "data": {"image": "/data/upload/3/1f2e3d4c-a%20b.png"}, "file_upload": "1f2e3d4c-a b.png",
             "annotations": [{"result": [], "was_cancelled": True}, {"result": results}], **more}]  # fmt: skip


def rectangle(x, y, width, height, rotation, name="ship"):
    value = {"x": 100 * x / WIDTH, "y": 100 * y / HEIGHT, "width": 100 * width / WIDTH, "height": 100 * height / HEIGHT,
             "rotation": rotation, "rectanglelabels": [name]}  # fmt: skip
    return {"type": "rectanglelabels", "original_width": WIDTH, "original_height": HEIGHT, "value": value}


@pytest.mark.parametrize("angle", [17, 60, 350])
def test_label_studio(tmp_path, angle):
    path = tmp_path / "export.json"
    path.write_text(json.dumps(label_studio([rectangle(*HORIZONTAL, angle), rectangle(5, 6, 40, 20, 0, "barge")])))
    content = read_coco(path)
    assert content["images"] == [{"id": 1, "file_name": "1f2e3d4c-a b.png", "height": HEIGHT, "width": WIDTH}]
    assert [c["name"] for c in content["categories"]] == ["barge", "ship"]
    rotated, horizontal = content["annotations"]
    assert [rotated["category_id"], horizontal["category_id"]] == [2, 1]
    assert agrees(rotated, drawn(angle, HORIZONTAL[:2]))
    assert covered(horizontal["oriented_box"])[6:26, 5:45].all() and np.allclose(horizontal["bbox"], [5, 6, 40, 20])


def test_label_studios_polygons_and_what_is_left_out(tmp_path, caplog):
    polygon = {"type": "polygonlabels", "original_width": WIDTH, "original_height": HEIGHT,
               "value": {"points": [[10, 10], [20, 10], [20, 30]], "polygonlabels": ["field"]}}  # fmt: skip
    ellipse = {"type": "ellipselabels", "value": {"x": 1, "y": 1, "radiusX": 2, "radiusY": 2}}
    path = tmp_path / "export.json"
    tasks = label_studio([polygon, ellipse]) + label_studio([])
    tasks[0]["data"]["image"] = "/data/local-files/?d=sets/port/b.tif"
    del tasks[0]["file_upload"]
    path.write_text(json.dumps(tasks))
    content = read_coco(path)
    assert content["images"][0]["file_name"] == "b.tif"
    (annotation,) = content["annotations"]
    assert np.allclose(annotation["segmentation"], [[32, 24, 64, 24, 64, 72]]) and "oriented_box" not in annotation
    assert "left out 1 tasks without rectangle or polygon" in caplog.text
    assert "left out 1 regions of other kinds" in caplog.text


@pytest.mark.parametrize("change", [{"value": {}}, {"value": 5}, {"original_width": None}])
def test_a_malformed_export_is_one_line(tmp_path, change):
    path = tmp_path / "export.json"
    path.write_text(json.dumps(label_studio([{**rectangle(*HORIZONTAL, 3), **change}])))
    with pytest.raises(InputError, match=r"export.json: task 7: not in Label Studio's JSON format") as caught:
        read_coco(path)
    assert "\n" not in str(caught.value)


def test_an_export_without_the_name_of_an_image_is_one_line(tmp_path):
    path = tmp_path / "export.json"
    tasks = label_studio([rectangle(*HORIZONTAL, 3)])
    tasks[0]["data"]["image"] = "https://tiles.example.org/scene/5"
    del tasks[0]["file_upload"]
    path.write_text(json.dumps(tasks))
    with pytest.raises(InputError, match="export.json: task 7: .*names no image"):
        read_coco(path)
