"""Evaluating a detector with SOPSeg as its mask branch."""

import json

import numpy as np
import pytest
import torch
from detectron2.data import DatasetCatalog
from detectron2.modeling import build_model
from helpers.tiny_sopseg import save_tiny_checkpoint
from pycocotools import mask as coco_mask

from insight import SOPSegPredictor
from insight.data.mappers.detection import PromptDatasetMapper
from insight.engine import Trainer


@pytest.fixture
def branch_cfg(tiny_cfg, tmp_path, monkeypatch):
    save_tiny_checkpoint(tmp_path / "sopseg.pth", monkeypatch)
    tiny_cfg.MODEL.META_ARCHITECTURE = "PromptRCNN"
    tiny_cfg.MODEL.MASK_ON = False
    tiny_cfg.MODEL.SOPSEG_BRANCH.ENABLED = True
    tiny_cfg.MODEL.SOPSEG_BRANCH.WEIGHTS = str(tmp_path / "sopseg.pth")
    tiny_cfg.MODEL.SOPSEG_BRANCH.INPUT_SIZE = 64
    return tiny_cfg


def test_masks_are_evaluated_in_the_original_images(branch_cfg, tmp_path):
    """With images that the network sees at another size, and a detector that has no masks of its own."""
    branch_cfg.INPUT.MIN_SIZE_TEST, branch_cfg.INPUT.MAX_SIZE_TEST = 48, 60
    torch.manual_seed(0)
    metrics = Trainer.test(branch_cfg, build_model(branch_cfg).eval())
    assert {"bbox", "segm"} == metrics.keys() and np.isfinite(metrics["segm"]["AP"])

    (file,) = (tmp_path / "output" / "inference").glob("*_results.json")
    results = json.loads(file.read_text())
    names = {d["image_id"]: d["file_name"] for d in DatasetCatalog.get(branch_cfg.DATASETS.TEST[0])}
    predictor = SOPSegPredictor(branch_cfg.MODEL.SOPSEG_BRANCH.WEIGHTS, input_size=64)
    for image_id, name in list(names.items())[:2]:
        found = [r for r in results if r["image_id"] == image_id]
        boxes = np.array([r["bbox"] for r in found])
        boxes[:, 2:] += boxes[:, :2]
        asked = predictor.predict(image=name, boxes=boxes)
        ours = coco_mask.decode([r["segmentation"] for r in found]).transpose(2, 0, 1)
        assert len(found) > 0 and (ours != asked.masks.to_bitmaps().numpy()).mean() < 1e-3


def test_the_sharp_image_is_read_in_evaluation_only(branch_cfg):
    entry = DatasetCatalog.get(branch_cfg.DATASETS.TEST[0])[0]
    assert PromptDatasetMapper(branch_cfg, is_train=False)(entry)["prompt_image"].shape == (3, 64, 80)
    assert "prompt_image" not in PromptDatasetMapper(branch_cfg, is_train=True)(entry)
    branch_cfg.MODEL.SOPSEG_BRANCH.ENABLED = False
    assert "prompt_image" not in PromptDatasetMapper(branch_cfg, is_train=False)(entry)
