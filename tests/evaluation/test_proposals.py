"""The measures of proposals, against Detectron2's and cases worked out by hand."""

import math

import numpy as np
import pytest

pytest.importorskip("detectron2")

import torch
from detectron2.data import DatasetCatalog
from detectron2.evaluation.coco_evaluation import _evaluate_box_proposals
from detectron2.structures import Boxes, BoxMode, Instances
from PIL import Image
from pycocotools.coco import COCO

from insight.evaluation.proposals import best_proposals, evaluate_proposals, summarize_proposals

SIZE, NAME = (400, 500), "test_proposals"
SIZES = [(0, 32**2), (32**2, 96**2), (96**2, 1e10)]


class Proposes:
    """Proposes the given boxes, image by image."""

    def __init__(self, proposals):
        self.left = list(proposals)

    def set_image(self, image, order):
        assert image.shape == (*SIZE, 3) and order == "RGB"

    def propose(self):
        return self.left.pop(0)


@pytest.fixture
def objects():
    """Two images of objects of all sizes that do not overlap, one without any, and a crowd."""
    rng = np.random.default_rng(0)
    cells = [(x, y) for x in (0, 125, 250, 375) for y in (0, 130, 260)]
    first, second = (
        torch.tensor([[x + 5.0, y + 5, x + 5 + rng.uniform(8, 115), y + 5 + rng.uniform(8, 115)] for x, y in cells])
        for _ in range(2)
    )
    return [first, torch.zeros(0, 4), second]


@pytest.fixture
def dataset(tmp_path, objects):
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(tmp_path / "black.png")
    crowd = {"bbox": [0, 0, 500, 400], "bbox_mode": BoxMode.XYXY_ABS, "category_id": 0, "iscrowd": 1}
    entries = [
        {
            "file_name": str(tmp_path / "black.png"), "image_id": number, "height": SIZE[0], "width": SIZE[1],
            "annotations": [{**crowd, "bbox": box, "iscrowd": 0} for box in boxes.tolist()] + [crowd],
        }
        for number, boxes in enumerate(objects)
    ]  # fmt: skip
    DatasetCatalog.register(NAME, lambda: entries)
    yield NAME
    DatasetCatalog.remove(NAME)


def loose(boxes, seed):
    """Boxes beside the given ones, nearest last, among many that are of no use."""
    generator = torch.Generator().manual_seed(seed)
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    moved = [boxes + sides * (torch.rand(boxes.shape, generator=generator) - 0.5) * s for s in (1.0, 0.5, 0.2)]
    corners = torch.rand(90, 2, generator=generator) * 300
    return torch.cat([torch.cat([corners, corners + 20], 1), *moved])


def test_recall_is_detectron2s(dataset, objects):
    proposals = [loose(objects[0], 0), loose(objects[0], 1), loose(objects[2], 2)]
    found = evaluate_proposals(Proposes([proposals[0], proposals[2]]), dataset)  # the second image has no objects
    coco = COCO()
    coco.dataset = {
        "images": [{"id": i} for i in range(3)],
        "categories": [{"id": 0}],
        "annotations": [
            {"id": 100 * i + j, "image_id": i, "category_id": 0, "iscrowd": 0, "area": (x2 - x1) * (y2 - y1),
             "bbox": [x1, y1, x2 - x1, y2 - y1]}
            for i, boxes in enumerate(objects) for j, (x1, y1, x2, y2) in enumerate(boxes.tolist())
        ],
    }  # fmt: skip
    coco.createIndex()
    predictions = [
        {
            "image_id": i,
            "proposals": Instances(SIZE, proposal_boxes=Boxes(p), objectness_logits=-torch.arange(float(len(p)))),
        }
        for i, p in enumerate(proposals)
    ]
    for name, area, limit in [("AR", "all", None), ("ARs", "small", None), ("ARm", "medium", None),
                              ("ARl", "large", None), ("AR@100", "all", 100)]:  # fmt: skip
        expected = _evaluate_box_proposals(predictions, coco, area=area, limit=limit)["ar"].item() * 100
        assert 5 < expected < 95 and found[name] == pytest.approx(expected, abs=1e-4), name
    assert found["AR@100"] < found["AR"]


def test_areas_of_what_is_found():
    objects = torch.tensor([[0.0, 0, 10, 10], [100, 100, 200, 200]])
    proposals = torch.tensor([[0.0, 0, 10, 8], [100, 100, 200, 225], [100, 100, 200, 130]])
    rows = best_proposals(objects, proposals)
    assert rows.tolist() == [[100, pytest.approx(0.8), pytest.approx(0.8), pytest.approx(0.8)],
                             [10_000, pytest.approx(0.8), pytest.approx(0.8), 1.25]]  # fmt: skip
    found = summarize_proposals(rows, SIZES)
    assert found["area error"] == pytest.approx(22.5)
    assert found["area error s"] == pytest.approx(20) and found["area error l"] == pytest.approx(25)
    assert found["AR"] == found["ARs"] == pytest.approx(70)  # thresholds 0.50 to 0.80
    assert math.isnan(found["ARm"]) and math.isnan(found["area error m"])


def test_nothing_proposed_and_nothing_there():
    objects = torch.tensor([[0.0, 0, 10, 10]])
    found = summarize_proposals(best_proposals(objects, torch.zeros(0, 4)), SIZES)
    assert found["AR"] == found["AR@100"] == 0 and math.isnan(found["area error"])
    assert best_proposals(torch.zeros(0, 4), objects).shape == (0, 4)
