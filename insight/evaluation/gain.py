"""What a model adds to its prompts: IoU under exact and loose boxes, beside answers that need no training."""

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2.data import MetadataCatalog
from pycocotools import mask as coco_mask

from insight.data.entries import read_entry_image
from insight.runtime.digests import digest, file_digest
from insight.runtime.journal import Journal
from insight.runtime.progress import Progress

from .boundary import BOUNDARY_RATIO, boundary_iou, is_all_boundary
from .contenders import Contender
from .prompt_baselines import best_exponent
from .prompted_objects import CONDITIONS, Condition, ImageObjects, PromptedObject, choose_objects

_VERSION = 1  # of the stored values; a change of what they mean discards all rows
_FITTED = 150  # objects that exponents are fitted to, on average of a class


@dataclass(frozen=True)
class Sample:
    """Objects of a dataset that all rows are measured on.

    Args:
        dataset: registered name.
        seed: seed of the choice.
        images: as `choose_objects` returns them.
        totals: how many objects of each class the dataset has.
    """

    dataset: str
    seed: int
    images: list[ImageObjects]
    totals: dict[int, int]

    @classmethod
    def choose(cls, dataset: str, count: int | None = None, seed: int = 0) -> "Sample":
        """Choose objects, see `choose_objects`."""
        return cls(dataset, seed, *choose_objects(dataset, count, seed))

    @property
    def objects(self) -> list[PromptedObject]:
        """All objects, image by image."""
        return [one for image in self.images for one in image.objects]

    @property
    def class_names(self) -> list[str]:
        """Names of the dataset's classes."""
        return list(MetadataCatalog.get(self.dataset).thing_classes)

    @functools.cached_property
    def narrow(self) -> int:
        """How many objects are all boundary, see `is_all_boundary`."""
        return sum(is_all_boundary(one.truth) for one in self.objects)

    @functools.cached_property
    def digest(self) -> str:
        """A digest of images, prompts and ground truth."""
        parts = [str(_VERSION).encode()]
        for image in self.images:
            parts.append(file_digest(image.entry["file_name"]).encode())
            for one in image.objects:
                counts = one.truth["counts"]
                parts += [f"{one.image_id} {one.index} {one.label}".encode(errors="surrogatepass")]
                parts += [counts if isinstance(counts, bytes) else counts.encode(), one.box.numpy().tobytes()]
        return digest(*parts)


@dataclass(frozen=True)
class MeasuredRow:
    """IoU of a row's masks.

    Args:
        name: heading.
        settings: what the row depends on.
        iou: for each condition that the row answers (N, 2) IoU and boundary IoU, 0 to 1, in the order of the sample.
    """

    name: str
    settings: dict[str, Any]
    iou: dict[Condition, np.ndarray]


def fit_exponents(dataset: str, seed: int = 0) -> dict[Condition, float]:
    """Fit the exponent of the image-free superellipse for each condition.

    Args:
        dataset: registered name of a dataset that is not measured; 150 objects times its classes are
            used, in equal shares as far as the classes have as many.
        seed: seed of the choice of objects.

    Returns:
        The exponents.

    Raises:
        InputError: the dataset has no masks.
    """
    classes = len(MetadataCatalog.get(dataset).get("thing_classes", ())) or 1
    images, _ = choose_objects(dataset, _FITTED * classes, seed)
    objects = [one for image in images for one in image.objects]
    truth = [one.truth for one in objects]
    return {
        condition: best_exponent(torch.stack([one.prompt(condition) for one in objects]), truth)
        for condition in CONDITIONS
    }


def measure(contender: Contender, sample: Sample, folder: Path) -> list[MeasuredRow]:
    """Measure the rows of a contender, image by image; a later call with the same folder continues.

    Args:
        contender: answers the prompts.
        sample: the objects.
        folder: gets a journal named after the contender's settings and the sample.

    Returns:
        A row for each of the contender's.

    Raises:
        OSError: an image cannot be read, or the journal cannot be written.
        InputError: the journal is damaged.
    """
    settings = {**contender.settings, "sample": sample.digest}
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    journal = Journal(folder / f"{key}.journal", settings)
    with Progress(len(sample.images), ", ".join(contender.rows), "image") as bar:
        done = sum(str(position) in journal for position in range(len(sample.images)))
        bar.skip(done)
        for position, image in enumerate(sample.images):
            if str(position) not in journal:
                journal.add(str(position), _answered(contender, image))
                bar.update()
    parts = [journal[str(position)] for position in range(len(sample.images))]
    return [
        MeasuredRow(
            name,
            settings,
            {
                condition: np.array([pair for part in parts for pair in part[i][str(condition)]])
                for condition in CONDITIONS
                if parts and str(condition) in parts[0][i]
            },
        )
        for i, name in enumerate(contender.rows)
    ]


def _answered(contender: Contender, image: ImageObjects) -> list[dict[str, list[tuple[float, float]]]]:
    """For each row and condition, IoU and boundary IoU of an image's objects."""
    pixels = read_entry_image(image.entry, "RGB")
    answers = contender.answer(
        torch.from_numpy(pixels.transpose(2, 0, 1).copy()),
        {condition: image.prompts(condition) for condition in CONDITIONS},
    )
    truth = [one.truth for one in image.objects]
    return [{str(condition): _overlaps(masks, truth) for condition, masks in row.items()} for row in answers]


def _overlaps(masks: Sequence[Mapping], truth: Sequence[dict]) -> list[tuple[float, float]]:
    ious = [float(coco_mask.iou([one], [other], [0])[0, 0]) for one, other in zip(masks, truth, strict=True)]
    return list(zip(ious, boundary_iou(list(masks), list(truth), BOUNDARY_RATIO).tolist()))
