"""SAT-MTB's frames joined in one COCO file."""

import json

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
            {"id": i, "category_id": 3, "bbox": [0, 0, 9, 9], "segmentation": p} for i, p in enumerate(polygons)
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


def test_what_is_wrong(folder, tmp_path, caplog):
    (folder / "ship/01/img/000001.png").unlink()
    with pytest.raises(OSError, match="no such image: .*000001.png"):
        prepare_sat_mtb(folder)
    (folder / "airplane/02/seg/000010.json").write_text('{"annotations": []}')
    assert prepare_sat_mtb(folder, skip_bad=True)["all"]["images"] == 1
    assert "left out 2 of 3 images" in caplog.text and "expected the COCO annotations of one frame" in caplog.text
    (tmp_path / "none").mkdir()
    with pytest.raises(
        ValueError, match="expected VIDEO/img/NAME.png and VIDEO/seg/NAME.json in airplane, ship, train"
    ):
        prepare_sat_mtb(tmp_path / "none")
