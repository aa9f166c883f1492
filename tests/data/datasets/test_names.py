"""A dataset's name is never a way out of the output folder."""

import json

import cv2
import numpy as np
import pytest

pytest.importorskip("detectron2")

import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.structures import Boxes, Instances

from insight.config import load_config
from insight.data.datasets import register_from_config
from insight.evaluation.coco import CocoEvaluator
from insight.runtime.file_names import safe_name


@pytest.fixture(params=["../../../evil", "a/b", ".hidden"])
def name(request, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((40, 60, 3), np.uint8))
    content = {
        "images": [{"id": 7, "file_name": "a.png", "height": 40, "width": 60}],
        "categories": [{"id": 4, "name": "ship"}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 4, "bbox": [10, 5, 20, 15], "area": 300, "iscrowd": 0}],
    }
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(content))
    entry = [request.param, str(path), str(tmp_path)]
    register_from_config(load_config("", ["DATASETS.COCO", repr([entry])]))
    yield request.param
    DatasetCatalog.remove(request.param)
    MetadataCatalog.remove(request.param)


def test_results_of_an_evaluation_lie_in_its_folder(name, tmp_path):
    output = tmp_path / "x" / "y" / "z" / "out"
    evaluator = CocoEvaluator(name, output, tasks=("bbox",))
    found = Instances((40, 60), pred_boxes=Boxes(torch.tensor([[10.0, 5, 30, 20]])), scores=torch.ones(1),
                      pred_classes=torch.zeros(1, dtype=torch.long))  # fmt: skip
    evaluator.process([{"image_id": 7}], [{"instances": found}])
    assert evaluator.evaluate()["bbox"]["AP"] == pytest.approx(100)
    written = {path for path in tmp_path.rglob("*") if path.is_file() and path.suffix == ".json"}
    names = [safe_name(name, f"_{kind}.json") for kind in ("results", "metrics")]
    assert written == {tmp_path / "coco.json", *(output / n for n in names)}
    assert not list(tmp_path.parent.glob("evil*"))
