"""The training demonstration: a small prompt model on drawn scenes, trained, evaluated, prompted and drawn."""

import os
import time
from pathlib import Path

import numpy as np
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog

from insight.data.entries import ground_truth_boxes, read_entry_image
from insight.data.formats.images import write_png
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
    """Draw the model's answers on the first images of a dataset.

    NAME_found.png shows the instances found without prompts; NAME_prompted.png the image, the ground-truth boxes and
    the masks predicted for them, side by side.

    Args:
        predictor: the trained model.
        dataset: registered name.
        folder: folder for the PNG files.
    """
    for entry in DatasetCatalog.get(dataset)[:PICTURES]:
        image, name = read_entry_image(entry, "RGB"), Path(os.fspath(entry["file_name"])).stem
        predictor.set_image(image)
        found = predictor.detect()
        found = found[found.scores >= 0.5]
        picture = draw_instances(image, found.masks, None, found.class_names, found.class_ids.tolist())
        write_png(folder / f"{name}_found.png", picture)
        boxes = ground_truth_boxes(entry["annotations"])
        if len(boxes):
            write_png(folder / f"{name}_prompted.png", _three_columns(image, boxes, predictor))


def _three_columns(image: np.ndarray, boxes: np.ndarray, predictor: PromptPredictor) -> np.ndarray:
    answer = predictor.predict(boxes=boxes)
    return np.hstack([
        draw_instances(image),
        draw_instances(image, boxes=boxes),
        draw_instances(image, answer.masks),
    ])  # fmt: skip
