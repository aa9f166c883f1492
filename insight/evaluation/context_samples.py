"""Objects for the study of context: on drawn scenes, or of a dataset with the features of a frozen backbone."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import torch
from detectron2.data import DatasetCatalog, MetadataCatalog
from torch import Tensor, nn
from torchvision.ops import roi_align

from insight.config import load_config
from insight.data.entries import ground_truth_boxes, read_entry_image
from insight.data.scenes.context import CONTEXT_CATEGORIES, draw_context_scene
from insight.errors import InputError
from insight.modeling.backbone import TimmBackbone
from insight.runtime.progress import progress

PIXEL_MEAN, PIXEL_STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
BINS = 7  # of an RoI feature
COARSE_STRIDE = 32

_TRAINING_SCENES, _TEST_SCENES, _FIRST_TEST_SEED = 600, 100, 1_000_000
_SIDE = 512  # longer side of a dataset's images, pixels
_STAGES = ("res3", "res4", "res5")


@dataclass(frozen=True)
class Sample:
    """The objects of an image.

    Args:
        image: (3, H, W) uint8 RGB.
        boxes: (N, 4) float XYXY, pixels.
        classes: (N,) int64.
        roi: (N, C, BINS, BINS), what a backbone sees of each box, or None.
        coarse: (D, h, w), the backbone's last stage for the whole image, or None.
    """

    image: Tensor
    boxes: Tensor
    classes: Tensor
    roi: Tensor | None = None
    coarse: Tensor | None = None


@dataclass(frozen=True)
class Samples:
    """What a study trains on and is tested on.

    Args:
        training, tests: samples.
        groups: classes among which right answers are counted, by the name of the group.
        count: number of classes.
    """

    training: list[Sample]
    tests: list[Sample]
    groups: dict[str, list[int]]
    count: int


def drawn_samples(seed: int) -> Samples:
    """Draw 600 scenes for training and 100 for the test, in which only the surroundings tell two classes apart.

    Args:
        seed: of the training scenes; those of the test are always the same.

    Returns:
        Samples without features; their groups are the two pairs and all classes.
    """
    seeds = [seed * _TRAINING_SCENES + i for i in range(_TRAINING_SCENES)]
    seeds += range(_FIRST_TEST_SEED, _FIRST_TEST_SEED + _TEST_SCENES)
    scenes = [_draw(s) for s in progress(seeds, "Drawing scenes", "scene")]
    groups = {"cars": [0, 1], "tanks": [2, 3], "all": [0, 1, 2, 3]}
    return Samples(scenes[:_TRAINING_SCENES], scenes[_TRAINING_SCENES:], groups, len(CONTEXT_CATEGORIES))


def dataset_samples(training: str, test: str, seed: int, most: tuple[int, int] = (600, 200)) -> Samples:
    """Take the objects of a dataset, with the features of the light detectors' backbone as ImageNet trained it.

    Args:
        training, test: registered datasets with the same classes.
        seed: of the choice of images and boxes.
        most: images of the training and of the test; at most 24 boxes of each.

    Returns:
        Samples with features, and one group of all classes that the test holds.

    Raises:
        InputError: the datasets differ in their classes.
    """
    names = [MetadataCatalog.get(name).thing_classes for name in (training, test)]
    if names[0] != names[1]:
        raise InputError(f"datasets: expected the same classes in both, got {names[0]} and {names[1]}")
    light = load_config(["light"], ["MODEL.DEVICE", "cpu"]).MODEL.TIMM
    backbone = TimmBackbone(light.NAME, list(_STAGES), weights=light.WEIGHTS).eval()
    generator = torch.Generator().manual_seed(seed)
    chosen = []
    for name, count in zip((training, test), most):
        entries = [entry for entry in DatasetCatalog.get(name) if entry["annotations"]]
        order = torch.randperm(len(entries), generator=generator)[:count].tolist()
        taken = progress([entries[i] for i in order], f"Features of {name}", "image")
        chosen.append([_of_dataset(entry, backbone, generator) for entry in taken])
    present = torch.cat([x.classes for x in chosen[1]]).unique().tolist()
    return Samples(*chosen, {"all": present}, len(names[0]))


def _draw(seed: int) -> Sample:
    scene = draw_context_scene(seed)
    boxes = torch.tensor([x.box for x in scene.instances], dtype=torch.float32).view(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    classes = torch.tensor([CONTEXT_CATEGORIES.index(x.category) for x in scene.instances], dtype=torch.int64)
    return Sample(torch.from_numpy(scene.image.transpose(2, 0, 1).copy()), boxes, classes)


@torch.no_grad()
def _of_dataset(entry: dict, backbone: nn.Module, generator: torch.Generator, boxes_of_image: int = 24) -> Sample:
    pixels = read_entry_image(entry, "RGB")
    scale = min(1.0, _SIDE / max(pixels.shape[:2]))
    pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    image = torch.from_numpy(pixels.transpose(2, 0, 1).copy())
    objects = [a for a in entry["annotations"] if not a.get("iscrowd", 0)]
    rows = torch.randperm(len(objects), generator=generator)[:boxes_of_image].tolist()
    objects = [objects[row] for row in rows]
    boxes = torch.from_numpy(ground_truth_boxes(objects)) * scale
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (PIXEL_MEAN, PIXEL_STD))
    maps = backbone(((image - mean) / std)[None])
    strides = {name: shape.stride for name, shape in backbone.output_shape().items()}
    pooled = [roi_align(maps[k], [boxes], BINS, 1 / strides[k], sampling_ratio=2, aligned=True) for k in _STAGES]
    classes = torch.tensor([a["category_id"] for a in objects], dtype=torch.int64)
    return Sample(image, boxes, classes, torch.cat(pooled, 1).half(), maps[_STAGES[-1]][0])
