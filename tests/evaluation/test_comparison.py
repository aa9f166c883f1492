"""Pictures side by side."""

import json

import cv2
import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from helpers.tiny import write_dataset

from insight.data.datasets.coco import register_coco
from insight.evaluation.comparison import ComparedModel, choose_entries, draw_comparisons, worst_entries

NAME = "test_compare"


@pytest.fixture
def dataset(tmp_path):
    register_coco(NAME, *write_dataset(tmp_path / "rectangles"))
    yield NAME
    DatasetCatalog.remove(NAME)
    MetadataCatalog.remove(NAME)


@pytest.fixture
def ours(prompt_cfg, prompt_model, dataset, tmp_path):
    torch.save({"model": prompt_model.state_dict()}, tmp_path / "model.pth")
    cfg = prompt_cfg.clone()
    cfg.defrost()
    cfg.MODEL.WEIGHTS, cfg.DATASETS.TEST = str(tmp_path / "model.pth"), (dataset,)
    return ComparedModel("ours", cfg)


def test_images_are_chosen_by_name(dataset):
    assert [e["image_id"] for e in choose_entries(dataset, ["images/3.png", "1"])] == [4, 2]
    with pytest.raises(ValueError, match="^images: 9.png: no such image in test_compare$"):
        choose_entries(dataset, ["1.png", "9.png"])
    said = "images: some/where/3.png: no such image in test_compare; it has /.*/images/3.png$"
    with pytest.raises(ValueError, match=said):
        choose_entries(dataset, ["some/where/3.png"])


@pytest.fixture
def videos(dataset, tmp_path):
    """The dataset with its first three files moved to v1/000001.png, v2/000001.png and v2/000001.png.jpg."""
    annotations, images = tmp_path / "rectangles" / "instances.json", tmp_path / "rectangles" / "images"
    content = json.loads(annotations.read_text())
    for image, name in zip(content["images"], ("v1/000001.png", "v2/000001.png", "v2/000001.png.jpg")):
        (images / name).parent.mkdir(exist_ok=True)
        (images / image["file_name"]).rename(images / name)
        image["file_name"] = name
    annotations.write_text(json.dumps(content))
    return dataset


def test_images_of_one_name_are_chosen_by_their_folders(videos, tmp_path):
    absolute = str(tmp_path / "rectangles" / "images" / "v1" / "000001.png")
    for names, ids in (
        (["v1/000001.png", "v2/000001.png"], [1, 2]),
        (["./images/v2/000001.png", "v1/000001"], [2, 1]),
        (["000001.png.jpg", absolute], [3, 1]),
    ):
        assert [e["image_id"] for e in choose_entries(videos, names)] == ids
    for name in ("000001.png", "000001"):
        said = f"{name}: expected one image of test_compare, 2 match; give more of the path: .*/v1/0.*, .*/v2/0"
        with pytest.raises(ValueError, match=said):
            choose_entries(videos, [name])
    for name in ("1/000001.png", "v3/000001.png"):  # folders count as a whole
        said = f"images: {name}: no such image in test_compare; it has .*/v1/000001.png, .*/v2/000001.png"
        with pytest.raises(ValueError, match=said):
            choose_entries(videos, [name])


def test_pictures_of_images_of_one_name_do_not_replace_each_other(ours, videos, tmp_path):
    entries = choose_entries(videos, ["v1/000001.png", "v2/000001.png", "5"])
    paths = draw_comparisons([ours], videos, entries, tmp_path / "out", prompted=True)
    assert [p.name for p in paths] == ["000000_000001.png", "000001_000001.png", "000005_5.png"]
    assert sorted((tmp_path / "out").iterdir()) == paths
    assert not np.array_equal(*(cv2.imread(str(p)) for p in paths[:2]))
    # Another run into the folder: still the same name.
    assert draw_comparisons([ours], videos, entries[1:2], tmp_path / "out", prompted=True) == paths[1:2]


def test_images_are_chosen_so_that_many_classes_are_seen():
    classes = [[0, 0, 0], [0], [], [1, 0], [2, 1, 0], [3]]
    entries = [{"image_id": i, "annotations": [{"category_id": c} for c in cs]} for i, cs in enumerate(classes)]
    DatasetCatalog.register("test_varied", lambda: entries)
    # 4 has three new classes; then 3 has two that were shown once, as good as the new one of 5 and before it.
    assert [e["image_id"] for e in choose_entries("test_varied", count=4)] == [4, 3, 5, 0]
    assert sorted(e["image_id"] for e in choose_entries("test_varied", count=9)) == list(range(6))
    DatasetCatalog.remove("test_varied")


def test_the_worst_images_are_those_of_the_lowest_iou(dataset, tmp_path):
    found = {1: [0.9, 0.4], 2: [0.5], 4: [0.1, 0.99], 5: [0.95]}
    instances = [{"image_id": image, "iou": iou} for image, ious in found.items() for iou in ious]
    file = tmp_path / "prompted.json"
    file.write_text(json.dumps({"instances": instances}))
    assert [e["image_id"] for e in worst_entries(dataset, file, 3)] == [4, 1, 2]
    file.write_text(json.dumps({"instances": [{"image_id": 77, "iou": 0.2}]}))
    with pytest.raises(ValueError, match="prompted.json: belongs to another dataset: image 77 is not in test_compare"):
        worst_entries(dataset, file, 3)
    with pytest.raises(FileNotFoundError, match="absent.json: no such file; evaluate the model"):
        worst_entries(dataset, tmp_path / "absent.json", 3)


@pytest.mark.parametrize("prompted", [False, True])
def test_a_panel_for_the_truth_and_for_each_model(ours, dataset, tmp_path, prompted):
    entries = choose_entries(dataset, ["0", "5"])  # the last one holds nothing
    two = [ComparedModel("theirs", ours.cfg), ours]
    options = {"prompted": prompted, "score_threshold": 0.0}
    paths = draw_comparisons(two, dataset, entries, tmp_path / "out", **options)
    assert [p.name for p in paths] == ["0.png", "5.png"]
    picture = cv2.imread(str(paths[0]))
    height, width = picture.shape[:2]
    assert width % 3 == 0 and height > 600
    truth, first, second = np.split(picture[28:], 3, axis=1)  # below the titles
    assert np.array_equal(first, second) and not np.array_equal(truth, first)
    assert picture[:28].any()


def test_a_detector_of_boxes_is_refused(ours, dataset, tmp_path):
    cfg = ours.cfg.clone()
    cfg.defrost()
    cfg.MODEL.MASK_ON = False
    with pytest.raises(ValueError, match="^MODEL.MASK_ON is False: the model has no masks to compare$"):
        draw_comparisons(
            [ComparedModel("boxes", cfg)], dataset, choose_entries(dataset, ["0"]), tmp_path, prompted=False
        )
    assert not list(tmp_path.glob("*.png"))
