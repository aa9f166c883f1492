"""NWPU VHR-10, where its images are."""

import pytest

pytest.importorskip("detectron2")

import numpy as np
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from helpers.coco_counts import class_counts, file_counts

from insight.config import add_insight_config
from insight.data.datasets.coco import load_coco
from insight.data.datasets.nwpu import CLASSES, SMALL_CLASSES
from insight.data.mappers.detection import PromptDatasetMapper


@pytest.mark.real_data
@pytest.mark.parametrize(("split", "images", "instances"), [("train", 520, 3178), ("val", 130, 743)])
def test_counts_classes_and_a_sample_of_images(real_data, split, images, instances):
    folder = real_data / "nwpu_vhr10"
    dicts, names, _ = load_coco(folder / "annotations" / f"instances_{split}.json", folder / "images")
    assert len(dicts) == images
    assert sum(len(d["annotations"]) for d in dicts) == instances
    assert tuple(names) == CLASSES == tuple(MetadataCatalog.get(f"nwpu_vhr10_{split}").thing_classes)
    cfg = get_cfg()
    add_insight_config(cfg)
    cfg.INPUT.ROTATE_90 = cfg.MODEL.MASK_ON = cfg.MODEL.PROMPT.LPM.ENABLED = True
    mapper = PromptDatasetMapper(cfg, is_train=True)
    for index in np.linspace(0, images - 1, 12).astype(int):
        sample = mapper({**dicts[index], "sample_seed": int(index)})
        assert len(sample["instances"]) == len(dicts[index]["annotations"])
        full, resized = sample["prompt_image"].shape[1:], sample["image"].shape[1:]
        assert sorted(full) == sorted((dicts[index]["height"], dicts[index]["width"]))
        assert full[0] / resized[0] == pytest.approx(full[1] / resized[1], rel=0.01)


@pytest.mark.real_data
def test_the_small_classes(real_data):
    dicts = DatasetCatalog.get("nwpu_vhr10_small_val")
    path = real_data / "nwpu_vhr10" / "annotations" / "instances_val.json"
    assert class_counts(dicts, SMALL_CLASSES) == {k: v for k, v in file_counts(path).items() if k in SMALL_CLASSES}
    assert len(dicts) == 130
