"""SAT-MTB's frames joined in one COCO file."""

import json
import shutil

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from insight.data.preparation.sat_mtb import prepare_sat_mtb


def frame(folder, video, name, polygons, supercategory=None):
    for part in ("img", "seg"):
        (folder / video / part).mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / video / "img" / f"{name}.png"), np.zeros((20, 30, 3), np.uint8))
    category = {"id": 3, "name": "WA", **({"supercategory": supercategory} if supercategory else {})}
    content = {
        "images": [{"height": 20, "width": 30}],
        "categories": [category],
        "annotations": [
            {"id": i, "category_id": 3, "bbox": [0, 0, 9, 9], "segmentation": p} for i, p in enumerate(polygons, 1)
        ],
    }
    (folder / video / "seg" / f"{name}.json").write_text(json.dumps(content))


@pytest.fixture
def folder(tmp_path):
    square = [[2, 3, 8, 3, 8, 9, 2, 9]]
    frame(tmp_path, "airplane/02", "000010", [square], "ship")
    frame(tmp_path, "airplane/02", "000009", [square, [[1, 1, 2, 2]]])
    frame(tmp_path, "ship/01", "000001", [square, [[20, 10, 40, 10, 40, 15, 20, 15]]])
    (tmp_path / "car" / "01" / "mot").mkdir(parents=True)
    return tmp_path


def test_frames_of_all_videos(folder):
    assert prepare_sat_mtb(folder) == {"all": {"images": 3, "annotations": 4, "masks without area": 1}}
    coco = COCO(str(folder / "instances.json"))
    assert [i["file_name"] for i in coco.dataset["images"]] == [
        "airplane/02/img/000009.png", "airplane/02/img/000010.png", "ship/01/img/000001.png"
    ]  # fmt: skip
    names = [coco.cats[a["category_id"]]["name"] for a in coco.dataset["annotations"]]
    assert names == ["airplane", "ship", "ship", "ship"], "the supercategory, or else the folder"
    assert coco.dataset["annotations"][0]["bbox"] == [2, 3, 6, 6] and coco.dataset["annotations"][0]["area"] == 36
    assert coco.dataset["annotations"][3]["area"] == 50, "what lies in the image"


def test_frames_whose_joined_names_are_equal_stay_two(folder):
    for video in ("ship/v_1", "ship/v/1"):
        frame(folder, video, "000001", [])
    assert prepare_sat_mtb(folder)["all"]["images"] == 5
    images = json.loads((folder / "instances.json").read_text())["images"]
    assert {"ship/v_1/img/000001.png", "ship/v/1/img/000001.png"} <= {image["file_name"] for image in images}


def test_two_files_for_one_frame_are_named(folder):
    label = folder / "ship/01/seg/000001.json"
    other = label.with_suffix(".JSON")
    if other.exists():
        pytest.skip("the file system does not tell them apart")
    shutil.copy(label, other)
    with pytest.raises(ValueError) as caught:
        prepare_sat_mtb(folder)
    assert str(caught.value) == (
        f"{folder}/instances.json: expected images of different names, got two called ship/01/000001: {other} and "
        f"{label}; rename or remove one"
    )


def test_what_is_wrong(folder, tmp_path, caplog):
    (folder / "ship/01/img/000001.png").unlink()
    with pytest.raises(OSError, match="no such image: .*000001.png"):
        prepare_sat_mtb(folder)
    (folder / "airplane/02/seg/000010.json").write_text('{"annotations": []}')
    assert prepare_sat_mtb(folder, skip_bad=True)["all"]["images"] == 1
    assert "left out 2 of 3 images" in caplog.text and "expected the COCO annotations of one frame" in caplog.text
    (folder / "airplane/02/seg/000010.json").write_text(
        '{"categories": [{"id": 1}], "annotations": [{"category_id": 1, "segmentation": [["a", 1, 2, 3, 4, 5]]}]}'
    )
    with pytest.raises(
        ValueError, match="000010.json: expected the COCO annotations of one frame, with polygons .*'a'"
    ):
        prepare_sat_mtb(folder)
    (tmp_path / "none").mkdir()
    with pytest.raises(
        ValueError, match="expected VIDEO/img/NAME.png and VIDEO/seg/NAME.json in airplane, ship, train"
    ):
        prepare_sat_mtb(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="no such folder: .*nowhere"):
        prepare_sat_mtb(tmp_path / "nowhere")


@pytest.mark.parametrize("skip_bad", [False, True])
def test_classes_and_videos_without_masks_are_named(folder, skip_bad, caplog):
    assert prepare_sat_mtb(folder, skip_bad=skip_bad)["all"]["images"] == 3
    assert f"{folder}: 1 of 3 classes have no VIDEO/seg/NAME.json and are left out: train\n" in caplog.text
    frame(folder, "train/11", "000001", [])
    (folder / "train/11/seg/000001.json").unlink()
    frame(folder, "ship/02", "000001", [])
    shutil.rmtree(folder / "ship/02/seg")
    assert prepare_sat_mtb(folder, skip_bad=skip_bad)["all"]["images"] == 3
    assert f"{folder}: 2 videos have no seg/NAME.json and are left out: ship/02, train/11\n" in caplog.text
    caplog.clear()
    for video in ("train/11", "ship/02"):
        frame(folder, video, "000001", [])
    assert prepare_sat_mtb(folder, skip_bad=skip_bad)["all"]["images"] == 5
    assert not caplog.text


def test_a_frame_without_its_masks_stops_or_is_left_out(folder, caplog):
    for number in (2, 3, 4, 10):
        frame(folder, "ship/01", f"{number:06}", [])
        (folder / f"ship/01/seg/{number:06}.json").unlink()
    message = (
        f"{folder}: frames in img/ need their seg/NAME.json; 4 are wrong: ship/01/img/000002.png, "
        "ship/01/img/000003.png, ship/01/img/000004.png, ...; skip_bad=True leaves out what is wrong"
    )
    for _ in range(2):
        with pytest.raises(ValueError) as caught:
            prepare_sat_mtb(folder)
        assert str(caught.value) == message
        expected = {"images": 3, "annotations": 4, "masks without area": 1, "frames without seg/NAME.json": 4}
        for _ in range(2):
            assert prepare_sat_mtb(folder, skip_bad=True) == {"all": expected}
            assert "left out what is wrong: frames in img/ need their seg/NAME.json: 4 (ship/01/img/" in caplog.text
            caplog.clear()
    for number in (2, 3, 4, 10):
        (folder / f"ship/01/img/{number:06}.png").unlink()
    del expected["frames without seg/NAME.json"]
    assert prepare_sat_mtb(folder, skip_bad=True) == prepare_sat_mtb(folder) == {"all": expected}


@pytest.mark.parametrize("shift", [(30, 0), (-30, 0), (0, 20), (0, -20)])
def test_a_mask_outside_its_image_stops_or_is_left_out(folder, shift, caplog):
    square = np.array([2, 3, 8, 3, 8, 9, 2, 9])
    outside = [(square + np.tile(shift, 4)).tolist()]
    frame(folder, "ship/01", "000001", [[square.tolist()], outside, [[-4, 3, 8, 3, 8, 9]], [[1, 1, 2, 2]], outside])
    message = (
        f"{folder}/ship/01/seg/000001.json: masks lie outside their image, which is 30 x 20 pixels; "
        "2 are wrong: annotation 2, annotation 5; skip_bad=True leaves out what is wrong"
    )
    for _ in range(2):  # a strict run does not take what one that skipped has left
        with pytest.raises(ValueError) as caught:
            prepare_sat_mtb(folder)
        assert str(caught.value) == message
        counts = {"images": 3, "annotations": 4, "masks without area": 2, "masks outside their image": 2}
        assert prepare_sat_mtb(folder, skip_bad=True) == {"all": counts}
    named = ("ship/01/seg/000001.json: annotation 2", "ship/01/seg/000001.json: annotation 5")
    assert f"left out what is wrong: masks outside their image: 2 ({', '.join(named)})\n" in caplog.text
