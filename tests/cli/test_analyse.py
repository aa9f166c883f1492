"""`insight analyse`."""

import json

import cv2
import numpy as np
import pytest
from helpers.boxes_coco import random_case

from insight.evaluation.coco import average_precision


@pytest.fixture
def files(tmp_path):
    """The files of a ground truth and of detections, and their contents."""
    truth, found = random_case()
    paths = tmp_path / "truth.json", tmp_path / "found.json"
    for path, content in zip(paths, (truth, found)):
        path.write_text(json.dumps(content))
    return *paths, truth, found


def test_pictures_and_tables(insight, files, tmp_path):
    truth_file, found_file, truth, found = files
    done = insight("analyse", found_file, "--annotations", truth_file, "--output", tmp_path / "out")
    assert done.code == 0, done.err
    for task in ("bbox", "segm"):
        folder = tmp_path / "out" / task
        written = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
        classes = ["20_tank.png", "3_car.png", "7_boat.png", "all_classes.png"]
        assert written == sorted(
            [
                "errors.json",
                "errors.md",
                "errors.png",
                "precision_recall.png",
                *(f"precision_recall/{c}" for c in classes),
            ]
        )
        for name in written:
            assert not name.endswith(".png") or cv2.imread(str(folder / name)).std() > 5
        errors = json.loads((folder / "errors.json").read_text())
        assert errors["task"] == task and errors["max_dets"] == 100
        assert errors["all"]["AP50"] == pytest.approx(average_precision(truth, found, task)["AP50"])
        for cause, count in errors["all"]["errors"].items():
            assert count == sum(one["errors"][cause] for one in errors["classes"].values())
            line = next(line for line in done.out.splitlines() if line.startswith(f"| {cause} "))
            fixed = errors["all"]["AP50 if fixed"][cause]
            cells = [cell.strip() for cell in line.split("|")[1:-1]]
            assert cells == [cause, str(count), f"{fixed:.2f}", f"{fixed - errors['all']['AP50']:+.2f}"]
            assert line in (folder / "errors.md").read_text()


def test_only_some_classes(insight, files, tmp_path, caplog):
    truth_file, found_file, truth, found = files
    others = [d for d in found if d["category_id"] != 20]
    results = {}
    for name, detections in (("all", found), ("others", others)):
        found_file.write_text(json.dumps(detections))
        output = ["--output", tmp_path / name]
        done = insight("analyse", found_file, "--annotations", truth_file, *output, "--classes", "boat", "car")
        assert done.code == 0, done.err
        results[name] = (tmp_path / name / "segm" / "errors.json").read_text()
    assert results["all"] == results["others"]
    assert caplog.text.count(f"left out {len(found) - len(others)} detections on other images or of other class") == 1
    errors = json.loads(results["all"])
    assert set(errors["classes"]) == {"boat", "car"}
    wanted = [a for a in truth["annotations"] if a["category_id"] != 20 and not a["iscrowd"]]
    assert errors["all"]["instances"] == len(wanted) < len(truth["annotations"])


def test_classes_may_be_spelled_otherwise_and_hold_dollars(insight, files, tmp_path):
    truth_file, found_file, truth, _ = files
    truth["categories"][0]["name"] = "$Big_car$"
    truth_file.write_text(json.dumps(truth))
    perfect = [{**a, "score": 1} for a in truth["annotations"] if not a["iscrowd"]]
    categories = [{**c, "name": c["name"].upper().replace("_", " ")} for c in truth["categories"]]
    found_file.write_text(json.dumps({**truth, "annotations": perfect, "categories": categories}))
    args = ("analyse", found_file, "--annotations", truth_file)
    for output, classes in (("all", ()), ("some", ("--classes", "$bigcar$", "Boat"))):
        done = insight(*args, "--output", tmp_path / output, *classes)
        assert done.code == 0, done.err
        assert json.loads((tmp_path / output / "bbox" / "errors.json").read_text())["all"]["AP50"] == 100


def test_detections_of_boxes_alone(insight, files, tmp_path, caplog):
    truth_file, found_file, _, found = files
    for detection in found[:3]:
        del detection["segmentation"]
    found_file.write_text(json.dumps(found))
    done = insight("analyse", found_file, "--annotations", truth_file, "--output", tmp_path / "out", "--max-dets", 3)
    assert done.code == 0, done.err
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [".lock", "bbox"]
    assert f"Masks are not analysed: 3 entries of {found_file} have no segmentation" in caplog.text
    assert json.loads((tmp_path / "out" / "bbox" / "errors.json").read_text())["max_dets"] == 3


def test_rings_without_corners_make_no_difference(insight, files, tmp_path):
    truth_file, found_file, truth, _ = files
    for output, rings in (("without", []), ("with", [[], [1, 2, 3, 4]])):
        for annotation in truth["annotations"]:
            x, y, w, h = annotation["bbox"]
            annotation["segmentation"] = [*rings, [x, y, x + w, y, x + w, y + h, x, y + h]]
            annotation.pop("area", None)
        truth_file.write_text(json.dumps(truth))
        done = insight("analyse", found_file, "--annotations", truth_file, "--output", tmp_path / output)
        assert done.code == 0, done.err
    assert (tmp_path / "with/segm/errors.json").read_text() == (tmp_path / "without/segm/errors.json").read_text()


def test_what_training_has_skipped_can_be_left_out(insight, files, tmp_path):
    truth_file, found_file, truth, found = files
    args = ("analyse", found_file, "--annotations", truth_file)
    assert insight(*args, "--output", tmp_path / "whole").code == 0
    for image in truth["images"]:
        path = tmp_path / "images" / image["file_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.zeros((image["height"], image["width"], 3), np.uint8))
    (tmp_path / "images" / "cut.png").write_bytes(path.read_bytes()[:60])
    size = {key: truth["images"][0][key] for key in ("height", "width")}
    truth["images"] += [{"id": 99, "file_name": "gone.png", **size}, {"id": 98, "file_name": "cut.png", **size}]
    good = next(a for a in truth["annotations"] if not a.get("iscrowd"))
    truth["annotations"] += [{**good, "id": 1000, "image_id": 99}, {**good, "id": 1001, "bbox": [900, 2, 9, 9]}]
    truth["annotations"].append({**good, "id": 1002, "image_id": 98})
    truth_file.write_text(json.dumps(truth))
    images = ("--images", tmp_path / "images")
    for more, reason in (((), "annotations lie outside their image"), (images, "images are missing on disk")):
        done = insight(*args, *more, "--output", tmp_path / "strict")
        assert done.code == 2 and f"error: {truth_file}: {reason}; 1 is wrong" in done.err
    done = insight(*args, "--images", tmp_path / "none", "--skip-bad", "--output", tmp_path / "strict")
    assert done.code == 2 and f"error: --images: {tmp_path / 'none'}: no such folder" in done.err
    found_file.write_text(json.dumps([*found, {**found[0], "image_id": 99}]))
    done = insight(*args, *images, "--skip-bad", "--output", tmp_path / "skipped")
    assert done.code == 0, done.err
    for name in ("bbox/errors.json", "segm/errors.json"):
        assert (tmp_path / "skipped" / name).read_text() == (tmp_path / "whole" / name).read_text()


def test_nothing_found(insight, files, tmp_path, caplog):
    truth_file, found_file, truth, _ = files
    found_file.write_text("[]")
    done = insight("analyse", found_file, "--annotations", truth_file, "--output", tmp_path / "out")
    assert done.code == 0, done.err
    assert "found.json: has no detections" in caplog.text
    errors = json.loads((tmp_path / "out" / "segm" / "errors.json").read_text())["all"]
    assert errors["AP50"] == 0 and errors["AP50 if fixed"]["missed"] is None
    assert errors["errors"]["missed"] == errors["instances"] == sum(not a["iscrowd"] for a in truth["annotations"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"found": "[1, 2"}, "found.json: not JSON"),
        ({"truth": "{}"}, 'truth.json: not a COCO file: expected a list "images"'),
        ({"truth": None}, "truth.json: no such file"),
        ({"found": '[{"image_id": 1, "category_id": [1], "score": 1, "bbox": [1, 2, 3, 4]}]'},
         "found.json: detections need an image_id and a category_id that are integers or strings; 1 is wrong: "),
        ({"counts": "not a code"}, "found.json: detections have an RLE whose runs are not integers of at least 0"),
        ({"counts": "0`o0000000000000000o1"}, "found.json: detections have an RLE whose runs are not integers of"),
        ({"max_dets": 0}, "--max-dets: expected an integer from 1, got 0"),
        ({"max_dets": 10**30}, f"--max-dets: expected an integer from 1 to {2**31 - 1}, got 1000"),
        ({"annotations": []}, "truth.json: expected at least one annotation to compare detections with, got none"),
        ({"name": "boat"}, "truth.json: category names are not unique; 2 are wrong: boat, boat"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_code_2(insight, files, tmp_path, change, said):
    truth_file, found_file, truth, found = files
    if "counts" in change:
        found[3]["segmentation"]["counts"] = change["counts"]
        found_file.write_text(json.dumps(found))
    if "name" in change:
        truth["categories"] = [{**c, "name": change["name"]} for c in truth["categories"]]
    truth["annotations"] = change.get("annotations", truth["annotations"])
    truth_file.write_text(json.dumps(truth))
    for key, path in (("truth", truth_file), ("found", found_file)):
        if isinstance(change.get(key), str):
            path.write_text(change[key])
        elif key in change:
            path.unlink()
    limit = ["--max-dets", change.get("max_dets", 100)]
    done = insight("analyse", found_file, "--annotations", truth_file, "--output", tmp_path / "out", *limit)
    assert done.code == 2
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and said in errors[0] and "Traceback" not in done.err
    assert not (tmp_path / "out").exists()
