"""The evaluator of prompted masks: through Detectron2's loop, with masks of both forms, in one process and in two."""

import json
import math
import multiprocessing
import os

import numpy as np
import pytest

pytest.importorskip("detectron2")

import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.evaluation import inference_on_dataset
from detectron2.structures import Instances
from pycocotools import mask as coco_mask

from insight.evaluation import PromptedEvaluator
from insight.structures.rle import RLEMasks

NAME = "test_prompted_evaluator"


@pytest.fixture(autouse=True)
def metadata():
    def load():
        MetadataCatalog.get(NAME).set(thing_classes=["car", "boat"])
        return [{"annotations": [{"segmentation": [[0, 0, 9, 0, 9, 9]]}]}]

    DatasetCatalog.register(NAME, load)
    yield
    DatasetCatalog.remove(NAME)
    MetadataCatalog.pop(NAME, None)  # which only reading the dataset makes


def encode(mask):
    code = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": code["size"], "counts": code["counts"].decode()}


def batches(rle=True):
    """Of three images of two sizes, inputs and what a model answers: halves of the true rectangles."""
    for image_id, (size, count) in enumerate([((60, 80), 2), ((60, 80), 0), ((90, 90), 3)], 1):
        truth, masks = np.zeros((2, count, *size), bool)
        for i in range(count):
            truth[i, 10 * i : 10 * i + 8, 5:25] = True
            masks[i, 10 * i : 10 * i + 8, 5 : 15 + i] = True  # 10, 11, 12 of 20 columns
        answer = Instances(size)
        answer.pred_masks = RLEMasks([encode(m) for m in masks], size) if rle else torch.from_numpy(masks)
        yield (
            [{"image_id": image_id, "truth": [encode(t) for t in truth], "classes": [i % 2 for i in range(count)]}],
            [{"instances": answer}],
        )


class Answers(torch.nn.Module):
    """A model that gives the answers of `batches`."""

    def forward(self, inputs):
        return next(outputs for given, outputs in batches() if given == inputs)


def test_through_detectron2s_loop(tmp_path, caplog):
    caplog.set_level("INFO", "insight")
    evaluator = PromptedEvaluator(NAME, tmp_path)
    results = inference_on_dataset(Answers(), [given for given, _ in batches()], evaluator)
    found = results["prompted"]
    assert all(isinstance(value, float) for value in found.values())
    means = {key: found[key] for key in ("mIoU", "IoU-car", "IoU-boat", "class mIoU", "instances", "instances-car")}
    assert means == pytest.approx(
        {"mIoU": 54, "IoU-car": 160 / 3, "IoU-boat": 55, "class mIoU": 325 / 6, "instances": 5, "instances-car": 3}
    )
    content = json.loads((tmp_path / f"{NAME}_prompted.json").read_text())
    assert content["metrics"] == found
    settings = "ratio 0.005, canvas 80 x 60 to 90 x 90: 1 px"
    assert content["boundary"] == f"{settings}, more than half the short side of 0 of 5 instances"
    instances = content["instances"]
    assert [(i["image_id"], i["index"], i["class"], i["iou"]) for i in instances] == [
        (1, 0, "car", 0.5), (1, 1, "boat", 0.55), (3, 0, "car", 0.5), (3, 1, "boat", 0.55), (3, 2, "car", 0.6),
    ]  # fmt: skip
    # A rectangle of 8 x 20 and its 8 x 10: boundaries of 52 and 32 px, which share 10 + 10 + 6.
    assert instances[0]["boundary_iou"] == pytest.approx(26 / (52 + 32 - 26))
    assert "80 x 60 to 90 x 90: 1 px" in caplog.text and "boat" in caplog.text


def test_bitmaps_equal_rle_and_reset_forgets():
    evaluator = PromptedEvaluator(NAME)
    results = []
    for rle in (True, False):
        evaluator.reset()
        for inputs, outputs in batches(rle):
            evaluator.process(inputs, outputs)
        results.append(evaluator.evaluate())
    assert results[0] == results[1]
    evaluator.reset()
    assert math.isnan(evaluator.evaluate()["prompted"]["mIoU"])


def test_a_data_set_without_masks_is_told_before_anything_is_predicted():
    DatasetCatalog.register("test_boxes", lambda: [{"annotations": [{"bbox": [0, 0, 9, 9]}]}])
    try:
        with pytest.raises(ValueError, match="^test_boxes: no annotation has a mask"):
            PromptedEvaluator("test_boxes")
    finally:
        DatasetCatalog.remove("test_boxes")


def test_an_answer_that_lacks_masks_names_the_image():
    inputs, outputs = next(batches())
    outputs[0]["instances"] = outputs[0]["instances"][[0]]
    with pytest.raises(ValueError, match=f"image 1 of {NAME}: expected as many .*, got 1, 2 and 2"):
        PromptedEvaluator(NAME).process(inputs, outputs)


def _half(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    evaluator = PromptedEvaluator(NAME, folder / str(rank))
    for inputs, outputs in list(batches())[2 * rank : 2 * rank + 2]:
        evaluator.process(inputs, outputs)
    assert bool(evaluator.evaluate()) == (rank == 0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_two_processes_give_what_one_gives(tmp_path):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_half, args=(rank, tmp_path)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    assert [process.exitcode for process in processes] == [0, 0]
    evaluator = PromptedEvaluator(NAME, tmp_path / "one")
    for inputs, outputs in batches():
        evaluator.process(inputs, outputs)
    evaluator.evaluate()
    name = f"{NAME}_prompted.json"
    assert (tmp_path / "0" / name).read_text() == (tmp_path / "one" / name).read_text()
    assert not (tmp_path / "1").exists()
