"""Pictures side by side: the ground truth, and the predictions of several models."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from detectron2.config import CfgNode
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.modeling import build_model
from detectron2.structures import Instances

from insight.config import gives_masks, is_sopseg
from insight.data.datasets.coco import require_classes_of_model
from insight.data.entries import ground_truth_boxes, objects_with_masks, read_entry_image
from insight.data.formats.file_check import first, read_json
from insight.data.formats.images import write_png
from insight.data.mappers.sopseg import SOPSegMapper
from insight.errors import InputError
from insight.inference.predictor import PromptPredictor
from insight.modeling.checkpointer import Checkpointer
from insight.runtime.progress import progress
from insight.structures.rle import segmentation_to_rle
from insight.visualization.dataset_pictures import picture_name
from insight.visualization.overlays import draw_instances

from .prompted import PromptedIoU

_SIDE = 800  # a panel is enlarged to about this, pixels
_TITLE = 28  # height of the line above it, pixels


@dataclass(frozen=True)
class ComparedModel:
    """A model to compare.

    Args:
        name: title of its panel.
        cfg: config; MODEL.WEIGHTS is the checkpoint.
    """

    name: str
    cfg: CfgNode


def choose_entries(dataset: str, images: Sequence[str] = (), count: int = 8) -> list[dict]:
    """Choose images of a dataset to draw.

    Args:
        dataset: registered name.
        images: file names with or without extensions, with as many folders as needed to make them unique; empty for
            images with many classes.
        count: number of images if none are named.

    Returns:
        Dataset dicts.

    Raises:
        InputError: a name matches no image of the dataset, or several.
    """
    entries = DatasetCatalog.get(dataset)
    if not images:
        return _varied(entries, count)
    known: dict[str, list[dict]] = {}
    for entry in entries:
        path = Path(entry["file_name"])
        for name in {path.name, path.stem}:
            known.setdefault(name, []).append(entry)
    return [_named(image, known.get(Path(image).name, []), dataset) for image in images]


def _named(image: str, candidates: list[dict], dataset: str) -> dict:
    """The one entry whose path ends in `image`, among those with its file name."""
    *folders, name = Path(image).parts or [""]
    paths = [Path(entry["file_name"]).absolute() for entry in candidates]
    fitting = [i for i, path in enumerate(paths) if list(path.parts[-1 - len(folders) : -1]) == folders]
    fitting = [i for i in fitting if paths[i].name == name] or fitting  # a whole name precedes one without its suffix
    if len(fitting) == 1:
        return candidates[fitting[0]]
    if fitting:
        found = first((candidates[i]["file_name"] for i in fitting), 4)
        raise InputError(
            f"images: {image}: expected one image of {dataset}, {len(fitting)} match; give more of the path: {found}"
        )
    others = f"; it has {first((e['file_name'] for e in candidates), 4)}" if candidates else ""
    raise InputError(f"images: {image}: no such image in {dataset}{others}")


def _varied(entries: list[dict], count: int) -> list[dict]:
    """Greedily the image with the most new classes; a class counts half as much each time it was shown."""
    worth: dict[int, float] = {}
    left = [(entry, {a["category_id"] for a in entry["annotations"]}) for entry in entries]
    chosen = []
    while left and len(chosen) < count:
        best = max(range(len(left)), key=lambda i: sum(worth.get(name, 1.0) for name in left[i][1]))
        entry, names = left.pop(best)
        worth.update((name, worth.get(name, 1.0) / 2) for name in names)
        chosen.append(entry)
    return chosen


def worst_entries(dataset: str, measured: str | os.PathLike, count: int) -> list[dict]:
    """Choose the images of a dataset with the objects that a model segments worst.

    Args:
        dataset: registered name.
        measured: DATASET_prompted.json of the model's evaluation, with the IoU of every object.
        count: number of images.

    Returns:
        Dataset dicts, sorted by the lowest IoU of an object.

    Raises:
        FileNotFoundError: the model has not been evaluated.
        InputError: the file is malformed or belongs to another dataset.
    """
    if not Path(measured).is_file():
        raise FileNotFoundError(f"{measured}: no such file; evaluate the model with prompts first, on {dataset}")
    lowest: dict[int | str, float] = {}
    content = read_json(Path(measured))
    try:
        for instance in content["instances"]:
            lowest[instance["image_id"]] = min(float(instance["iou"]), lowest.get(instance["image_id"], 1.0))
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(f"{measured}: expected the IoUs of an evaluation with prompts, got something else") from error
    known = {entry["image_id"]: entry for entry in DatasetCatalog.get(dataset)}
    absent = [image for image in lowest if image not in known]
    if absent:
        raise InputError(f"{measured}: belongs to another dataset: image {absent[0]} is not in {dataset}")
    return [known[image] for image in sorted(lowest, key=lowest.get)[:count]]


def draw_comparisons(
    models: Sequence[ComparedModel],
    dataset: str,
    entries: Sequence[dict],
    output: str | os.PathLike,
    *,
    prompted: bool = False,
    score_threshold: float = 0.5,
) -> list[Path]:
    """Draw a picture of each image, with a panel for the ground truth and one for each model.

    Args:
        models: with the classes of the dataset. SOPSeg is always prompted, according to its config.
        dataset: registered name.
        entries: the output of `choose_entries` or `worst_entries`.
        output: folder for the PNG files, STEM.png; POSITION_STEM.png if images of the dataset share names.
        prompted: prompt detectors with the ground-truth boxes instead of letting them find instances.
        score_threshold: lowest score of an instance that a detector finds.

    Returns:
        The files.

    Raises:
        InputError: the classes of a detector and the dataset differ, or the detector has no masks.
    """
    names = MetadataCatalog.get(dataset).thing_classes
    answers = [(one.name, _answerer(one.cfg, dataset, prompted, score_threshold)) for one in models]
    pictures = _picture_names(dataset)
    paths = []
    for entry in progress(entries, "Drawing", "image"):
        image = read_entry_image(entry, "RGB")
        annotations = objects_with_masks(entry)
        truth = [segmentation_to_rle(a["segmentation"], image.shape[:2]) for a in annotations]
        classes = [a["category_id"] for a in annotations]
        panels = [_panel("ground truth", image, truth, classes, [names[c] for c in classes])]
        for name, (answer, is_prompted) in answers:
            found = answer({**entry, "annotations": annotations}, image)
            labels = None if is_prompted else [names[c] for c in found.pred_classes.tolist()]
            title = f"{name}: mean IoU {_iou(found, truth, names):.1f}" if is_prompted and truth else name
            colors = classes if is_prompted else found.pred_classes.tolist()
            boxes = found.pred_boxes.tensor.numpy() if is_prompted else None
            panels.append(_panel(title, image, found.pred_masks, colors, labels, boxes))
        path = Path(output, pictures[entry["image_id"]])
        write_png(path, np.hstack(panels))
        paths.append(path)
    return paths


def _picture_names(dataset: str) -> dict[int | str, str]:
    """Picture names by image id, whichever images are drawn, so that no later run replaces another image's."""
    entries = DatasetCatalog.get(dataset)
    stems = [Path(entry["file_name"]).stem for entry in entries]
    unique = len(set(stems)) == len(stems)
    return {
        entry["image_id"]: f"{stem}.png" if unique else picture_name(entry, position)
        for position, (entry, stem) in enumerate(zip(entries, stems))
    }


def _answerer(
    cfg: CfgNode, dataset: str, prompted: bool, score_threshold: float
) -> tuple[Callable[[dict, np.ndarray], Instances], bool]:
    """(entry, image) -> instances on the CPU, and whether they answer the annotations one by one."""
    if is_sopseg(cfg):
        model = build_model(cfg.clone()).eval()
        if cfg.MODEL.WEIGHTS or not cfg.MODEL.SOPSEG.WEIGHTS:
            Checkpointer(model, exact=True).load(cfg.MODEL.WEIGHTS, checkpointables=[])
        mapper = SOPSegMapper(cfg, is_train=False)

        @torch.no_grad()
        def segment(entry: dict, image: np.ndarray) -> Instances:
            return model([mapper(entry)])[0]["instances"].to("cpu")

        return segment, True
    if not gives_masks(cfg):
        raise InputError("MODEL.MASK_ON is False: the model has no masks to compare")
    predictor = PromptPredictor(cfg)
    require_classes_of_model(predictor.class_names, dataset)

    def ask(entry: dict, image: np.ndarray) -> Instances:
        predictor.set_image(image)
        if prompted:
            return predictor.predict(boxes=ground_truth_boxes(entry["annotations"])).to_instances()
        found = predictor.detect().to_instances()
        return found[found.scores >= score_threshold]

    return ask, prompted


def _iou(found: Instances, truth: list[dict], names: list[str]) -> float:
    metric = PromptedIoU(names)
    metric.update(found.pred_masks, truth, [0] * len(truth))
    return metric.result()["mIoU"]


def _panel(title: str, image: np.ndarray, masks, classes, labels, boxes=None) -> np.ndarray:
    scale = max(1, round(_SIDE / max(image.shape[:2])))
    picture = draw_instances(image, masks, boxes, labels, classes, scale=scale)
    strip = np.zeros((_TITLE, picture.shape[1], 3), np.uint8)
    cv2.putText(strip, title, (6, _TITLE - 9), cv2.FONT_HERSHEY_SIMPLEX, 0.55, (255, 255, 255), 1, cv2.LINE_AA)
    return np.pad(np.vstack([strip, picture]), ((0, 0), (0, 4), (0, 0)))
