"""Demonstration: trains a small prompt model on synthetic scenes, evaluates it, prompts it and draws the results."""

import os
import time
from pathlib import Path

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog
from detectron2.structures import BoxMode

from insight.data.formats.images import write_png
from insight.data.mappers.detection import read_entry_image
from insight.evaluation import evaluate_prompted
from insight.inference.predictor import PromptPredictor
from insight.visualization.overlays import draw_instances

from .entry import train

PICTURES = 8


def demonstrate(cfg: CfgNode) -> dict[str, float]:
    """Train, or resume a stopped run, then evaluate, prompt and draw.

    Args:
        cfg: a config of a PromptRCNN; OUTPUT_DIR gets the checkpoint, the logs and overlays/.

    Returns:
        "mask AP" and "mask AP50" of instances found without prompts and "prompted mIoU" of the masks of ground-truth
        boxes, in percent, and "ms a prompt", the mean time of an answer once an image is encoded.
    """
    found = train(cfg, resume=True)["segm"]
    trained = cfg.clone()
    trained.defrost()
    trained.MODEL.WEIGHTS = str(Path(cfg.OUTPUT_DIR, "model_final.pth"))
    predictor = PromptPredictor(trained)
    seconds, prompts = 0.0, 0

    def masks_of(image: np.ndarray, boxes: np.ndarray) -> list[dict]:
        nonlocal seconds, prompts
        predictor.set_image(image)
        start = time.perf_counter()
        found = predictor.predict(boxes=boxes)
        seconds, prompts = seconds + time.perf_counter() - start, prompts + len(boxes)
        return found.masks

    dataset = cfg.DATASETS.TEST[0]
    prompted = evaluate_prompted(masks_of, dataset, image_format="RGB")
    draw_answers(predictor, dataset, Path(cfg.OUTPUT_DIR, "overlays"))
    return {
        "mask AP": found["AP"],
        "mask AP50": found["AP50"],
        "prompted mIoU": prompted["mIoU"],
        "ms a prompt": 1000 * seconds / max(prompts, 1),
    }


def draw_answers(predictor: PromptPredictor, dataset: str, folder: Path) -> None:
    """Draw the first images of a dataset: detections on the left, masks of the ground-truth boxes on the right.

    Args:
        predictor: the trained model.
        dataset: registered name.
        folder: folder for the PNG files.
    """
    for entry in DatasetCatalog.get(dataset)[:PICTURES]:
        image = read_entry_image(entry, "RGB")
        predictor.set_image(image)
        found = predictor.detect()
        halves = [_draw(image, found[found.scores >= 0.5])]
        boxes = [BoxMode.convert(a["bbox"], a["bbox_mode"], BoxMode.XYXY_ABS) for a in entry["annotations"]]
        if boxes:
            halves.append(_draw(image, predictor.predict(boxes=boxes), boxes))
        write_png(folder / f"{Path(os.fspath(entry['file_name'])).stem}.png", np.hstack(halves))


def _draw(image, found, boxes=None):
    boxes = boxes if boxes is None else np.array(boxes)
    return draw_instances(image, found.masks, boxes, found.class_names, found.class_ids.tolist())
