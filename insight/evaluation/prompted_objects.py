"""Objects of a dataset to prompt for, and their boxes with noise that is the same for every model."""

import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from detectron2.data import DatasetCatalog
from torch import Tensor

from insight.data.entries import ground_truth_boxes, objects_with_masks
from insight.errors import InputError
from insight.runtime.progress import progress
from insight.structures.boxes import jitter_boxes
from insight.structures.oriented_boxes import box_corners, jitter_oriented_boxes, rectangle_sides, rle_rectangle
from insight.structures.rle import rle_area, segmentation_to_rle

from .coco import require_masks

KINDS = ("oriented", "horizontal")
JITTERS = (0.0, 0.1, 0.2, 0.3)


@dataclass(frozen=True)
class Condition:
    """A form of prompts, and how inexact they are.

    Args:
        kind: "oriented", the rectangle of least area around the mask; or "horizontal", the annotation's box.
        jitter: largest shift of each side along the box's axes, as a fraction of the box's extent.
    """

    kind: str
    jitter: float

    def __str__(self) -> str:
        return f"{self.kind} {self.jitter:g}"


CONDITIONS = tuple(Condition(kind, jitter) for kind in KINDS for jitter in JITTERS)


@dataclass(frozen=True)
class PromptedObject:
    """An object with a mask.

    Args:
        image_id: id of its image.
        index: position among the objects with masks of its image, by which its noise is drawn.
        label: class index.
        truth: ground-truth mask, COCO RLE.
        rectangle: (4, 2) float32 XY, the rectangle of least area around the mask, image pixels.
        box: (4,) float32 XYXY, the annotation's box, image pixels.
    """

    image_id: int | str
    index: int
    label: int
    truth: dict
    rectangle: Tensor
    box: Tensor

    @property
    def sides(self) -> tuple[float, float]:
        """Shorter and longer side of the rectangle, pixels."""
        return rectangle_sides(self.rectangle)

    def prompt(self, condition: Condition) -> Tensor:
        """Make the object's prompt.

        The noise depends on the image's id and the object's index alone, and is in proportion for all levels.

        Args:
            condition: the form and the noise.

        Returns:
            (4, 2) float32 XY, image pixels, corners clockwise as displayed; may leave the image.
        """
        seed = zlib.crc32(f"{self.image_id}\n{self.index}".encode(errors="surrogatepass"))
        generator = torch.Generator().manual_seed(seed)
        if condition.kind == "oriented":
            return jitter_oriented_boxes(self.rectangle[None], condition.jitter, generator)[0]
        return box_corners(jitter_boxes(self.box[None], condition.jitter, generator))[0]


@dataclass(frozen=True)
class ImageObjects:
    """The chosen objects of an image.

    Args:
        entry: Detectron2's dataset dict of the image.
        objects: at least one.
    """

    entry: dict
    objects: tuple[PromptedObject, ...]

    def prompts(self, condition: Condition) -> Tensor:
        """(N, 4, 2) prompts of the objects, see `PromptedObject.prompt`."""
        return torch.stack([one.prompt(condition) for one in self.objects])


def choose_objects(dataset: str, count: int | None = None, seed: int = 0) -> tuple[list[ImageObjects], dict[int, int]]:
    """Choose objects of a dataset, as many of each class as there are or as their share allows.

    Objects without a pixel in their mask are left out. A larger count holds the objects of a smaller one, for one seed,
    as long as every class has its full share.

    Args:
        dataset: registered name.
        count: number of objects; None for all.
        seed: seed of the choice.

    Returns:
        The images in the order of the dataset, with their chosen objects; and how many objects of each class the
        dataset has.

    Raises:
        InputError: the dataset has no masks, or the count is below 1.
    """
    if count is not None and count < 1:
        raise InputError(f"objects: expected at least 1, got {count}")
    require_masks(dataset)
    entries = DatasetCatalog.get(dataset)
    by_class: dict[int, list[tuple[int, int]]] = defaultdict(list)  # (entry, position among its objects with masks)
    for number, entry in enumerate(entries):
        for index, annotation in enumerate(objects_with_masks(entry)):
            by_class[annotation["category_id"]].append((number, index))
    generator = np.random.default_rng(seed)
    order = {
        label: [places[i] for i in generator.permutation(len(places))] for label, places in sorted(by_class.items())
    }
    total = sum(map(len, order.values()))
    shares = _shares({label: len(places) for label, places in order.items()}, total if count is None else count)
    chosen: dict[int, list[int]] = defaultdict(list)
    for label, places in order.items():
        for number, index in places[: shares[label]]:
            chosen[number].append(index)
    images = []
    for number in progress(sorted(chosen), f"Measuring the objects of {dataset}", "image"):
        found = tuple(_objects(entries[number], sorted(chosen[number])))
        if found:
            images.append(ImageObjects(entries[number], found))
    return images, {label: len(places) for label, places in order.items()}


def _shares(available: dict[int, int], count: int) -> dict[int, int]:
    """The number of each class: equal, but for classes that have fewer, whose rest the others get."""
    shares = dict.fromkeys(available, 0)
    left = min(count, sum(available.values()))
    while left:
        open_classes = [label for label in available if shares[label] < available[label]]
        each = max(1, left // len(open_classes))
        for label in open_classes:
            more = min(each, available[label] - shares[label], left)
            shares[label] += more
            left -= more
    return shares


def _objects(entry: dict, indices: Sequence[int]) -> Iterable[PromptedObject]:
    annotations = objects_with_masks(entry)
    boxes = torch.from_numpy(ground_truth_boxes(annotations))
    for index in indices:
        truth = segmentation_to_rle(annotations[index]["segmentation"], (entry["height"], entry["width"]))
        if rle_area(truth):
            label = annotations[index]["category_id"]
            yield PromptedObject(entry["image_id"], index, label, truth, rle_rectangle(truth), boxes[index])
