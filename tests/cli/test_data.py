"""`insight data`: preparation, checks and statistics."""

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("detectron2")

from detectron2.data import DatasetCatalog, MetadataCatalog

from insight.data.datasets import data_root

NAME = "prepare_data_test"


@pytest.fixture
def data(tmp_path):
    """The DATASETS.COCO override of a good dataset, its COCO file, and a way to change it."""
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / "images" / f"{name}.png"), rng.integers(0, 256, (40, 60, 3), np.uint8))
    square = [[10, 5, 30, 5, 30, 25, 10, 25]]
    content = {
        "images": [{"id": i, "file_name": f"{n}.png", "height": 40, "width": 60} for i, n in ((1, "a"), (2, "b"))],
        "categories": [{"id": 1, "name": "ship"}, {"id": 2, "name": "tank"}],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": 1, "bbox": [10, 5, 20, 20], "segmentation": square} for i in (1, 2)
        ],
    }
    path = tmp_path / "coco.json"

    def write(change=lambda content: None):
        change(content)
        path.write_text(json.dumps(content))

    write()
    yield ["DATASETS.COCO", repr([[NAME, str(path), str(tmp_path / "images")]])], path, write
    if NAME in DatasetCatalog.list():
        DatasetCatalog.remove(NAME)
        MetadataCatalog.remove(NAME)


def test_a_good_data_set(data, insight):
    done = insight("data check", NAME, *data[0])
    assert done.code == 0, done.err
    assert done.out == f"{NAME}: 0 fatal, 0 wrong, 0 notes; 2 images and 2 objects can be used\n"


def test_each_fault_is_a_line_that_names_the_file(data, insight, tmp_path):
    override, path, write = data

    def spoil(content):
        content["images"].append({"id": 3, "file_name": "gone.png", "height": 40, "width": 60})
        content["images"].append({"id": 4, "file_name": "cut.png", "height": 40, "width": 60})
        content["images"][1]["height"] = 41
        content["images"][0]["sem_seg_file_name"] = "labels/a.png"
        content["annotations"].append({**content["annotations"][0], "id": 2})
        content["annotations"].append({**content["annotations"][0], "id": 7, "image_id": 9})
        content["annotations"].append({**content["annotations"][0], "id": 8, "segmentation": [[1, 1, 2, 2]]})

    whole = (tmp_path / "images" / "a.png").read_bytes()
    (tmp_path / "images" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "images" / "extra.png").write_bytes(whole)
    write(spoil)
    done = insight("data check", NAME, *override)
    assert done.code == 1
    lines = done.out.splitlines()
    images = tmp_path / "images"
    undecodable = f"wrong: {path}: images cannot be decoded to the size stated by their annotations: "
    assert f"{undecodable}{images / 'b.png'}: is 60 x 40 pixels, its annotations state 60 x 41" in lines
    assert any(line.startswith(f"{undecodable}cannot read image {images / 'cut.png'}") for line in lines)
    assert f"wrong: {path}: label maps cannot be used: no such label map: {images / 'labels' / 'a.png'}" in lines
    assert f"wrong: {path}: images are missing on disk: {images / 'gone.png'}" in lines
    assert f"wrong: {path}: annotation ids are not unique: annotation 2" in lines
    assert f"wrong: {path}: annotations have an unknown image_id: annotation 7 with image_id 9" in lines
    assert f"note: {path}: annotations need a box and a mask with an area: left out annotation 8" in lines
    assert f"note: {images}: 1 image not in coco.json: extra.png" in lines
    assert lines[-1] == f"{NAME}: 0 fatal, 6 wrong, 2 notes; 1 image and 2 objects can be used"


def test_two_categories_of_one_name_are_fatal(data, insight):
    override, path, write = data
    write(lambda content: content["categories"].append({"id": 77, "name": content["categories"][0]["name"]}))
    done = insight("data check", "--skip-bad", NAME, *override)
    assert done.code == 1 and f"fatal: {path}: category names are not unique; 1 is wrong: " in done.out
    assert done.out.endswith("docs/data.md describes the expected files\n")


def test_what_can_be_skipped_is_no_failure_if_asked(data, insight):
    override, _, write = data
    write(lambda content: content["annotations"][0].update(image_id=9))
    assert insight("data check", "--strict", NAME, *override).code == 1
    done = insight("data check", "--skip-bad", NAME, *override)
    assert done.code == 0 and "0 fatal, 1 wrong, 0 notes; 2 images and 1 object can be used" in done.out


def test_an_image_that_is_cut_off_can_be_skipped(data, insight, tmp_path):
    override, path, _ = data
    whole = (tmp_path / "images" / "a.png").read_bytes()
    (tmp_path / "images" / "a.png").write_bytes(whole[: len(whole) // 2])
    assert insight("data check", NAME, *override).code == 1
    done = insight("data check", NAME, "--skip-bad", *override)
    assert done.code == 0 and "0 fatal, 1 wrong, 0 notes; 1 image and 0 objects can be used" in done.out
    assert len(DatasetCatalog.get(NAME)) == 2  # strict: reading every image takes its time
    done = insight("data statistics", NAME, *override, "DATASETS.BAD", "skip")
    assert done.code == 0 and f"{NAME}: 1 image" in done.out


def test_options_stand_anywhere(data, insight, tmp_path):
    override, _, write = data
    write(lambda content: content["annotations"][0].update(image_id=9))
    config = tmp_path / "config.yaml"
    config.write_text(f"DATASETS:\n  COCO: {override[1]}\n")
    bad = ["DATASETS.BAD", "skip"]
    for words in ([NAME, "--config-file", config, *bad], [NAME, *bad, "--config-file", config]):
        assert "2 images" in insight("data statistics", *words).out
    for words in (
        [NAME, "--skip-bad", *override],
        [NAME, *override, "--skip-bad"],
        [NAME, "--config-file", config, "--skip-bad"],
        ["--config-file", config, "--skip-bad", NAME, "SEED", "-1"],
        [NAME, "--config-file", config, "SEED", "3", "--skip-bad", "MODEL.MASK_ON", "False"],
    ):
        done = insight("data check", *words)
        assert done.code == 0 and "0 fatal, 1 wrong" in done.out, (words, done)
    for words in (["check", NAME, "--skip-bda"], ["statistics", NAME, "--skip-bda"]):
        done = insight("data", *words)
        assert done.code == 2 and "unknown option --skip-bda; did you mean --skip-bad?" in done.err, done
    done = insight("data prepare", "sat_mtb", "x", "y")
    assert done.code == 2 and "unexpected argument: y" in done.err
    done = insight("data check", "--config-file", config, NAME)
    assert done.code == 2 and "required: NAME (--config-file takes all words up to the next option)" in done.err


def test_a_folder_that_is_half_there(data, insight, tmp_path):
    from insight.data.datasets.coco import register_coco

    _, path, _ = data
    images = tmp_path / "images"
    register_coco(NAME, path, images)
    images.rename(tmp_path / "elsewhere")
    done = insight("data check", NAME, "--skip-bad")
    assert done.code == 1 and done.out.splitlines()[0] == f"fatal: {images}: no such folder, expected the images"
    with pytest.raises(ValueError, match=f"{path}: images are missing on disk; 2 are wrong: {images}/a.png"):
        DatasetCatalog.get(NAME)
    (tmp_path / "elsewhere").rename(images)
    path.unlink()
    done = insight("data check", NAME, "--skip-bad")
    assert done.code == 1 and f"fatal: no such file: {path}" in done.out
    with pytest.raises(FileNotFoundError, match=f"no such file: {path}"):
        DatasetCatalog.get(NAME)


def test_a_data_set_that_is_not_there(insight):
    done = insight("data check", "hrsid_nope")
    assert done.code == 2 and "error: NAME: unknown dataset 'hrsid_nope'; the nearest: hrsid_test, hrsid" in done.err
    assert done.err.endswith('a COCO file gets a name by DATASETS.COCO \'[["name", "file.json", "images"]]\'\n')
    for name in ("ssdd_train", "soda_a_val"):
        done = insight("data check", name)
        assert done.code == 1 and "fatal: " in done.out and "no such" in done.out and "Traceback" not in done.err


def test_oriented_boxes(insight, tmp_path):
    from insight.data.datasets.oriented import register_oriented

    for name in ("images", "labelTxt"):
        (tmp_path / name).mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.zeros((40, 60, 3), np.uint8))
    lines = ("0 0 9 0 9 9 0 9 ship 0", "0 0 9 0 9 0 0 0 ship 0", "0 0 40 0 40 40 0 40 tank 0")
    (tmp_path / "labelTxt" / "a.txt").write_text("\n".join(lines))
    register_oriented(NAME, tmp_path, ("ship", "tank"))
    try:
        done = insight("data check", NAME)
        assert done.code == 0, done.err
        assert f"note: {tmp_path}: boxes without area: left out {tmp_path / 'labelTxt' / 'a.txt'}: box 1\n" in done.out
        done = insight("data statistics", NAME)
        assert re.search(r"ship +1 +1 +9 ", done.out) and re.search(r"tank +1 +1 +40 ", done.out), done.out
        (tmp_path / "labelTxt" / "a.txt").write_text("0 0 9 0 9 9 0 9 boat 0\n")
        done = insight("data check", NAME)
        assert done.code == 1 and "a.txt: 1 box of 'boat'" in done.out
        (tmp_path / "labelTxt" / "a.txt").write_text("0 0 9 0 ship\n")
        done = insight("data check", NAME)
        assert done.code == 1 and "a.txt, line 1: expected x1 y1" in done.out
        (tmp_path / "labelTxt" / "a.txt").write_text("0 0 9 0 9 9 0 9 ship 0\n")
        for i in range(5):  # half copied
            (tmp_path / "labelTxt" / f"b{i}.txt").write_text("")
            cv2.imwrite(str(tmp_path / "images" / f"c{i}.png"), np.zeros((40, 60, 3), np.uint8))
            (tmp_path / "labelTxt" / f"b{i}.txt").unlink()
        done = insight("data check", NAME, "--strict")
        assert done.code == 1 and "0 fatal, 5 wrong, 0 notes; 1 image and 1 object can be used" in done.out
        for i in range(5):
            (tmp_path / "labelTxt" / f"b{i}.txt").write_text("")
        done = insight("data check", NAME, "--skip-bad")
        assert done.code == 0 and "0 fatal, 10 wrong, 0 notes; 1 image and 1 object can be used" in done.out
        for i in range(5):
            assert f"wrong: {tmp_path}: label files need an image in images/: labelTxt/b{i}.txt\n" in done.out
            assert f"wrong: {tmp_path}: images need a label file in labelTxt/: images/c{i}.png\n" in done.out
        assert insight("data check", NAME).code == 1
    finally:
        DatasetCatalog.remove(NAME)
        MetadataCatalog.remove(NAME)


def test_statistics(data, insight):
    done = insight("data statistics", NAME, *data[0])
    assert done.code == 0, done.err
    assert f"{NAME}: 2 images, 60 x 40 to 60 x 40 pixels" in done.out
    assert re.search(r"ship +2 +1 +20 +20.0 to 20.0 +100.0 %", done.out), done.out
    assert re.search(r"tank +0 +0\s*\n", done.out) and re.search(r"all +2 +1 +20 ", done.out)


def test_preparing(insight, tmp_path):
    painted = np.zeros((20, 30, 3), np.uint8)
    painted[5:10, 5:15] = (0, 0, 128)  # BGR: HRSID's red
    ids = np.zeros((20, 30, 3), np.uint8)
    ids[5:10, 5:15] = (0, 64, 0)
    (tmp_path / "in").mkdir()
    for suffix, picture in (("", painted), ("_instance_id_RGB", ids), ("_instance_color_RGB", painted)):
        cv2.imwrite(str(tmp_path / "in" / f"P1{suffix}.png"), picture)
    args = ("data prepare", "hrsid", tmp_path / "in", "--output", tmp_path / "out")
    for _ in range(2):
        done = insight(*args)
        assert (done.code, done.out) == (0, "all: 1 image, 1 annotation\n"), done.err
    content = json.loads((tmp_path / "out" / "instances_all.json").read_text())
    assert content["annotations"][0]["bbox"] == [5, 5, 10, 5]
    metadata = MetadataCatalog.get("hrsid_painted")  # finds it in INSIGHT_DATA
    for path in (Path(metadata.json_file), Path(metadata.image_root) / "P1.png"):
        assert (tmp_path / "out" / path.relative_to(data_root() / "hrsid_painted")).is_file()
    (tmp_path / "in" / "P1_instance_id_RGB.png").unlink()
    done = insight(*args)
    assert done.code == 2 and "pictures of instances are missing: P1_instance_id_RGB.png" in done.err
    done = insight("data prepare", "isaid", tmp_path / "in", "--output", tmp_path / "out")
    assert done.code == 2 and done.err.strip().splitlines()[-1].startswith("error: ") and "train/" in done.err
    for name in ("a", "b"):
        for suffix in ("", "_instance_id_RGB", "_instance_color_RGB"):
            cv2.imwrite(str(tmp_path / "in" / f"{name}{suffix}.png"), np.zeros((20, 30, 3), np.uint8))
    (tmp_path / "in" / "b_instance_id_RGB.png").unlink()
    done = insight(*args, "--skip-bad")
    assert (done.code, done.out) == (0, "all: 1 image, 0 annotations; left out 2 images without their pictures\n")
    for command in ("isaid", "hrsid", "sat_mtb"):
        output = ("--output", tmp_path / "out") if command != "sat_mtb" else ()
        done = insight("data prepare", command, tmp_path / "none", *output)
        assert done.code == 2 and done.err == f"error: {tmp_path / 'none'}: no such folder\n"


def test_foreground(data, insight, tmp_path):
    _, path, write = data
    args = ("data foreground", "--output", tmp_path / "out")
    done = insight(*args, f"both={path},{path}")
    assert done.code == 0 and "| both | 4 | 50.0 % | 50.0 % | 0.0 % | 8.33 % |" in done.out, done.err
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"foreground.md", "foreground.json", "foreground.png"}
    for twice in ((f"a={path}", f"a={path}"), (path, f"coco={path}")):
        done = insight(*args, *twice)
        name = "a" if twice[0] != path else "coco"
        assert done.code == 2 and f"{name} is given twice; {name}=FILE,FILE makes one row of several files" in done.err
    shutil.copy(path, tmp_path / "with,comma.json")
    for text, name in ((f"one={tmp_path}/with,comma.json", "one"), (tmp_path / "with,comma.json", "with,comma")):
        assert f"| {name} | 2 |" in " ".join(insight(*args, text).out.split())
    write(lambda content: content["annotations"][0].update(image_id=9))
    done = insight(*args, path)
    assert done.code == 2 and f"error: {path}: annotations have an unknown image_id" in done.err
    assert done.err.rstrip().endswith("--skip-bad leaves out what is wrong")
    done = insight(*args, "--skip-bad", path)
    assert "| coco | 2 |" in done.out
    said = "left out what is wrong: annotations have an unknown image_id: 1 (annotation 1 with image_id 9)"
    assert f"warning: {path}: {said}" in done.err
    empty = {"image_id": 1, "segmentation": [[1, 1, 2, 2]]}
    write(lambda content: content["annotations"][0].update(empty))
    assert "annotations need a box and a mask with an area: 1 (annotation 1)" in insight(*args, path).err
