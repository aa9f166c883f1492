"""Evaluation of detected masks: from the mask head's probabilities to codes, and from codes to average precision.

The detections are 100 ellipses in each image of 800 x 800, in boxes from 8 to 208 pixels, most of them small; 60 of
each image are annotated. Everything runs in one process, so the ratios hold for one core.
"""

import contextlib
import copy
import io
from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import faster_coco_eval
import numpy as np
import torch
import torch.nn.functional as F
from detectron2.layers import paste_masks_in_image
from detectron2.structures import Boxes, Instances
from harness import Case, Rival
from pycocotools import coco, cocoeval
from pycocotools import mask as coco_mask
from torch import Tensor

from insight.evaluation.coco import AREA_PROFILES, instances_to_coco, precision_table
from insight.modeling.mask_pasting import paste_masks

IMAGES, DETECTIONS, ANNOTATED, SIDE, CLASSES = 20, 100, 60, 800, 15


def cases(device: torch.device) -> Iterator[Case]:
    """Codes of the detections of an image, and average precision of masks and of their boundaries."""
    generator = torch.Generator().manual_seed(0)
    found = [_detections(generator) for _ in range(IMAGES)]
    probabilities, boxes = (x.to(device) for x in found[0])
    yield Case(
        f"codes of {DETECTIONS} masks in {SIDE} x {SIDE}",
        lambda: _as_tensor(paste_masks(probabilities, boxes, (SIDE, SIDE)).codes),
        {"Detectron2 + pycocotools": Rival(lambda: _pasted(probabilities, boxes), 20.0, tolerance=0)},
        note="the rival pastes bitmaps of the whole image, as Detectron2's evaluation does",
    )
    files = cache(partial(_files, found, generator))  # made when a case that needs them is run, and once
    for task in ("segm", "boundary"):
        rivals = {"faster-coco-eval": Rival(lambda task=task: _faster_coco_eval(*files(), task))}
        if task == "segm":
            rivals["pycocotools"] = Rival(lambda: _pycocotools(*files()))
        yield Case(
            f"AP of {IMAGES} x {DETECTIONS} masks, {task}",
            lambda task=task: torch.from_numpy(precision_table(*files(), task, boundary_ratio=0.02)),
            rivals,
        )


def _detections(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Probabilities (N, 28, 28) of ragged ellipses, and boxes (N, 4)."""
    corner = torch.rand(DETECTIONS, 2, generator=generator) * (SIDE - 40)
    side = 8 + 200 * torch.rand(DETECTIONS, 2, generator=generator) ** 3
    places = (torch.arange(28) + 0.5) / 14 - 1
    widths = 0.5 + 0.5 * torch.rand(DETECTIONS, 2, 1, 1, generator=generator)
    ragged = F.interpolate(torch.randn(DETECTIONS, 1, 7, 7, generator=generator), 28, mode="bilinear")[:, 0]
    logits = 6 * (1 - torch.hypot(places / widths[:, 0], places[:, None] / widths[:, 1])) + ragged
    return logits.sigmoid(), torch.cat([corner, (corner + side).clamp(max=SIDE)], dim=1)


def _pasted(probabilities: Tensor, boxes: Tensor) -> Tensor:
    bitmaps = paste_masks_in_image(probabilities, boxes, (SIDE, SIDE)).cpu().numpy()
    return _as_tensor([coco_mask.encode(np.asfortranarray(bitmap, dtype=np.uint8)) for bitmap in bitmaps])


def _as_tensor(codes: list[dict]) -> Tensor:
    return torch.frombuffer(bytearray(b"\n".join(code["counts"] for code in codes)), dtype=torch.uint8)


def _files(found: list[tuple[Tensor, Tensor]], generator: torch.Generator) -> tuple[dict, list[dict]]:
    """A COCO file whose outlines are those of slightly moved detections, and the detections."""
    annotations: list[dict[str, Any]] = []
    results = []
    for image, (probabilities, boxes) in enumerate(found, 1):
        instances = Instances((SIDE, SIDE), pred_boxes=Boxes(boxes))
        instances.scores = torch.rand(DETECTIONS, generator=generator)
        instances.pred_classes = torch.randint(1, CLASSES + 1, (DETECTIONS,), generator=generator)
        instances.pred_masks = paste_masks(probabilities, boxes, (SIDE, SIDE))
        results += (own := instances_to_coco(instances, image))
        moved = boxes[:ANNOTATED] + torch.randn(ANNOTATED, 4, generator=generator)
        masks = paste_masks(probabilities[:ANNOTATED], moved, (SIDE, SIDE), 0.4)
        for detection, outlines, area in zip(own, masks.polygons(), masks.areas().tolist()):
            polygons = [outline.flatten().tolist() for outline in outlines]
            annotations.append({**detection, "segmentation": polygons, "area": area, "iscrowd": 0})
            annotations[-1]["id"] = len(annotations)
    images = [{"id": i, "height": SIDE, "width": SIDE, "file_name": f"{i}.png"} for i in range(1, IMAGES + 1)]
    categories = [{"id": k, "name": f"class {k}"} for k in range(1, CLASSES + 1)]
    return {"images": images, "annotations": annotations, "categories": categories}, results


def _pycocotools(truth: dict, results: list[dict]) -> Tensor:
    with contextlib.redirect_stdout(io.StringIO()):
        loaded = coco.COCO()
        loaded.dataset = copy.deepcopy(truth)
        loaded.createIndex()
        evaluation = cocoeval.COCOeval(loaded, loaded.loadRes(_without_boxes(results)), "segm")
        evaluation.evaluate()
        evaluation.accumulate()
    return torch.from_numpy(evaluation.eval["precision"])


def _faster_coco_eval(truth: dict, results: list[dict], task: str) -> Tensor:
    loaded = faster_coco_eval.COCO(copy.deepcopy(truth))
    evaluation = faster_coco_eval.COCOeval_faster(
        loaded,
        loaded.loadRes(_without_boxes(results)),
        task,
        {name: list(area) for name, area in AREA_PROFILES["coco"].items()},
        lambda *_: None,
        boundary_cpu_count=1,
        rle_iou_max_workers=1,
    )
    evaluation.evaluate()
    evaluation.accumulate()
    return torch.from_numpy(evaluation.eval["precision"])


def _without_boxes(results: list[dict]) -> list[dict]:
    """Copies whose areas the libraries take from the masks."""
    return [{key: value for key, value in copy.deepcopy(r).items() if key != "bbox"} for r in results]
