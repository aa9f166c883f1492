"""The demonstration of models by name: two drawn scenes, segmented from boxes and, with a detector, found."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from insight.data.formats.coco_writer import open_coco
from insight.data.formats.images import write_png
from insight.data.scenes import CATEGORIES, Scene, draw_scene
from insight.evaluation.prompt_baselines import best_exponent, superellipse_masks
from insight.hub import ModelFolder
from insight.inference.prediction import Prediction
from insight.inference.predictor import PromptPredictor
from insight.inference.sopseg_predictor import SOPSegPredictor
from insight.runtime.locks import output_folder
from insight.structures.oriented_boxes import box_corners, jitter_oriented_boxes, oriented_corners
from insight.structures.rle import masks_to_rle
from insight.visualization.overlays import draw_instances

# Bright scenes; no training or validation split has their seeds.
SCENES = {"marina": ("harbour", 2_000_009), "apron": ("apron", 2_000_016)}
SIZE = (384, 384)  # height, width, pixels
JITTER = 0.2  # largest shift of a side of a loose box, as a fraction of the box's extent


class Found(NamedTuple):
    """Detections in a scene.

    Attributes:
        scene: its name.
        objects: ground-truth objects.
        detections: detections that are shown.
        right: detections that overlap an object of their class with an IoU of at least 0.5, each object counted once.
    """

    scene: str
    objects: int
    detections: int
    right: int


class Asked(NamedTuple):
    """Masks of prompts in a scene.

    Attributes:
        scene: its name.
        prompts: what the prompts were.
        objects: number of prompts, one for each ground-truth object.
        iou: mean IoU of the masks with the ground truth, percent.
        image_free: the same of a superellipse drawn into each prompt without looking at the image, percent. Its
            exponent is the best one for these very prompts.
    """

    scene: str
    prompts: str
    objects: int
    iou: float
    image_free: float


def demonstrate_models(
    output: str | os.PathLike, detector: ModelFolder | None, sopseg: ModelFolder, device: str | None = None
) -> tuple[list[Found], list[Asked]]:
    """Draw a marina and an apron, segment their objects from boxes and from loose oriented boxes, and find them.

    Args:
        output: folder for SCENE.png, pictures of three columns (SCENE_found.png: image, detections, ground truth;
            SCENE_boxes.png and SCENE_loose.png: image, prompts, masks) and polygons.json (COCO, masks of the boxes as
            polygons).
        detector: finds objects; None to find none.
        sopseg: segments boxes.
        device: device to compute on; None for a GPU if there is one.

    Returns:
        What was found, and how well the prompts were answered.

    Raises:
        InsightError: a model is damaged or of the wrong kind.
        OSError: the folder cannot be written to, or another process is writing there.
    """
    finder = None if detector is None else PromptPredictor.from_pretrained(detector, device)
    segmenter = SOPSegPredictor.from_pretrained(sopseg, device)
    found, asked = [], []
    with output_folder(output) as folder, open_coco(folder / "polygons.json", CATEGORIES) as coco:
        for name, (kind, seed) in SCENES.items():
            scene = draw_scene(seed, SIZE, kind, "optical")
            write_png(folder / f"{name}.png", scene.image)
            truth = masks_to_rle(np.stack([one.full_mask(SIZE) for one in scene.instances]))
            classes = [one.category for one in scene.instances]

            if finder is not None:
                finder.set_image(scene.image)
                detections = finder.detect()
                found.append(Found(name, len(truth), len(detections), _right(detections, truth, classes)))
                _write_columns(
                    folder / f"{name}_found.png",
                    draw_instances(scene.image),
                    draw_instances(scene.image, detections.masks, colors=_colors(detections.class_names)),
                    draw_instances(scene.image, truth, colors=_colors(classes)),
                )

            segmenter.set_image(scene.image)
            for label, stem, prompts, corners in _prompts(scene, seed):
                answer = segmenter.predict(**prompts)
                exponent = best_exponent(corners, truth)
                image_free = superellipse_masks(corners, exponent, SIZE)
                asked.append(
                    Asked(
                        name,
                        label,
                        len(truth),
                        _mean_iou(masks_to_rle(answer.masks), truth),
                        _mean_iou(image_free, truth),
                    )
                )
                _write_columns(
                    folder / f"{name}_{stem}.png",
                    draw_instances(scene.image),
                    draw_instances(scene.image, boxes=corners.flatten(1).numpy()),
                    draw_instances(scene.image, answer.masks),
                )
                if stem == "boxes":
                    image_id = coco.add_image({"file_name": f"{name}.png", "height": SIZE[0], "width": SIZE[1]})
                    for annotation in _as_polygons(answer, classes):
                        coco.add({**annotation, "image_id": image_id})
    return found, asked


def _prompts(scene: Scene, seed: int) -> Iterator[tuple[str, str, dict[str, Tensor], Tensor]]:
    """Label, file name, arguments of `predict` and corners (N, 4, 2) of the prompts of each kind."""
    boxes = torch.tensor([one.box for one in scene.instances], dtype=torch.float32)
    boxes[:, 2:] += boxes[:, :2]
    yield "boxes", "boxes", {"boxes": boxes}, box_corners(boxes)
    exact = oriented_corners([one.oriented_box for one in scene.instances])
    loose = jitter_oriented_boxes(exact, JITTER, torch.Generator().manual_seed(seed))
    yield "loose oriented boxes", "loose", {"oriented_boxes": loose}, loose


def _right(found: Prediction, truth: Sequence[dict], classes: Sequence[str]) -> int:
    """Number of detections, best first, that take an object of their class that is still free."""
    if not len(found) or not len(truth):
        return 0
    overlaps = coco_mask.iou(masks_to_rle(found.masks), list(truth), [0] * len(truth))
    overlaps *= np.asarray(found.class_names)[:, None] == np.asarray(classes)
    right = 0
    for index in np.argsort(-found.scores.numpy(), kind="stable"):
        best = int(overlaps[index].argmax())
        if overlaps[index, best] >= 0.5:
            right += 1
            overlaps[:, best] = 0
    return right


def _mean_iou(masks: Sequence[dict], truth: Sequence[dict]) -> float:
    return 100 * float(np.mean([coco_mask.iou([one], [other], [0])[0, 0] for one, other in zip(masks, truth)]))


def _as_polygons(answer: Prediction, classes: Sequence[str]) -> Iterator[dict]:
    for annotation, parts, label in zip(answer.to_coco(), answer.to_polygons(), classes):
        yield {
            **annotation,
            "category_id": CATEGORIES.index(label) + 1,
            "segmentation": [part.ravel().tolist() for part in parts],
        }


def _colors(classes: Sequence[str]) -> list[int]:
    return [CATEGORIES.index(name) if name in CATEGORIES else len(CATEGORIES) for name in classes]


def _write_columns(path: Path, *columns: np.ndarray) -> None:
    write_png(path, np.hstack(columns))
