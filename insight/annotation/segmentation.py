"""Segment all boxes of a source, and keep the masks in a journal as they come."""

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from insight.errors import InputError, InsightError
from insight.modeling.sopseg import SOPSeg, load_sopseg
from insight.modeling.sopseg.crop_size import default_crop_size
from insight.modeling.sopseg.encoders import check_input_size
from insight.modeling.sopseg.prompt_form import check_form, in_form
from insight.modeling.sopseg.segment import SegmentedObjects, segment_objects
from insight.runtime.digests import digest, file_digest
from insight.runtime.journal import Journal
from insight.runtime.progress import Progress
from insight.structures.crop_plans import one_crop_each
from insight.structures.oriented_boxes import have_area, oriented_corners
from insight.structures.prompts import Prompts, oriented_prompts
from insight.structures.rle import encode_logits
from insight.version import __version__

from .measures import measure_mask
from .pixels import read_pixels
from .sources import ImageBoxes, Source, SourceImage

BLOCK = 256  # boxes that are segmented and kept together: what a kill costs at most, and what memory holds


class Segmenter(Protocol):
    """A model that turns boxes into masks.

    Attributes:
        settings: everything that its masks depend on, as JSON values.
    """

    settings: dict[str, Any]

    def __call__(self, image: Tensor, prompts: Prompts) -> Iterator[SegmentedObjects]:
        """Segment the prompted objects of an image (3, H, W) uint8 RGB, each once."""


class SOPSegSegmenter:
    """SOPSeg, or plain SAM, with a magnified crop per object. The model is loaded when it is first needed.

    Args:
        weights: checkpoint, as `load_sopseg` takes it.
        input_size: side of the crops, pixels; None for the model's, see `default_crop_size`.
        device: device of the model.
        dtype: torch.float32 or torch.bfloat16, the precision of the model.
        prompt: form of oriented boxes, "oriented_box" or "box"; None for the one that the model was trained for, see
            `insight.modeling.sopseg.prompt_form.in_form`.

    Raises:
        OSError: the checkpoint cannot be read.
        InputError: `input_size` is not supported, or an unknown form.
    """

    def __init__(
        self,
        weights: str | os.PathLike,
        input_size: int | None,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        prompt: str | None = None,
    ):
        if input_size is not None:
            check_input_size(input_size, "input_size")
        check_form(prompt)
        self.weights, self.input_size, self.device, self.dtype = Path(weights), input_size, device, dtype
        self.prompt = prompt
        self.settings = {
            "insight": __version__,
            "weights": file_digest(self.weights),
            "input_size": input_size or "as the checkpoint needs",
            "dtype": str(dtype).removeprefix("torch."),
            "prompt": prompt or "as the checkpoint was trained",
        }

    @cached_property
    def _model(self) -> SOPSeg:
        return load_sopseg(self.weights).for_inference(self.device, self.dtype)

    def __call__(self, image: Tensor, prompts: Prompts) -> Iterator[SegmentedObjects]:
        """Segment the prompted objects of an image (3, H, W) uint8 RGB, each once."""
        if prompts.points is not None:
            prompts = in_form(prompts, self._model, self.prompt)
        size = self.input_size or default_crop_size(self._model)
        return segment_objects(self._model, image, prompts, one_crop_each(prompts.boxes), size)


def segment_source(source: Source, segmenter: Segmenter, journal: Journal) -> dict[str, str]:
    """Segment all boxes that the journal does not hold yet, and show the progress.

    Args:
        source: the boxes.
        segmenter: the model.
        journal: gets for each of an image's `blocks` {"size": [height, width] of the image, "objects": for each box
            what `measure_mask` says, "score" (predicted IoU) and "counts" (COCO's compressed RLE), or {"unusable":
            reason}}.

    Returns:
        Names of images that could not be used -> reason.
    """
    failures = {}
    with Progress(sum(image.count for image in source.images), "Segmenting", "box") as bar:
        for image in source.images:
            try:
                boxes = source.read(image)
                parts = blocks(image, boxes)
                pixels = None if all(key in journal for key, _ in parts) else _read_pixels(image)
            except (OSError, InsightError) as error:
                failures[image.name] = str(error)
                bar.update(image.count)
                continue
            for key, part in parts:
                if key in journal:
                    bar.update(part.stop - part.start)
                else:
                    block = _segment_block(pixels, boxes.corners[part], boxes.oriented[part], segmenter, bar)
                    journal.add(key, block)
    return failures


def blocks(image: SourceImage, boxes: ImageBoxes) -> list[tuple[str, slice]]:
    """Split the boxes of an image into the parts that are segmented and kept together.

    Args:
        image: the image.
        boxes: its boxes.

    Returns:
        For each part the key of its result in the journal and the slice of the boxes; an image without boxes has one
        empty part. The key changes with the boxes and with the content of the image file.

    Raises:
        OSError: the image cannot be read.
    """
    parts = [slice(start, min(start + BLOCK, len(boxes))) for start in range(0, max(len(boxes), 1), BLOCK)]
    pixels = file_digest(image.path).encode()
    digests = [digest(pixels, boxes.corners[p].tobytes(), boxes.oriented[p].tobytes()) for p in parts]
    return [(f"{image.name} {part.start} {key[:16]}", part) for part, key in zip(parts, digests)]


def _read_pixels(image: SourceImage) -> Tensor:
    """(3, H, W) uint8 RGB."""
    pixels = read_pixels(image.path)
    (height, width), stated = pixels.shape[:2], image.size
    if stated not in (None, (height, width)):
        raise InputError(f"{image.path}: is {width} x {height} pixels, its source says {stated[1]} x {stated[0]}")
    return torch.tensor(pixels).permute(2, 0, 1)


def _segment_block(
    image: Tensor, corners: np.ndarray, oriented: np.ndarray, segmenter: Segmenter, bar: Progress
) -> dict[str, Any]:
    size = tuple(image.shape[1:])
    with_area = have_area(torch.as_tensor(corners, dtype=torch.float32)).tolist()
    reasons = [_unusable(box, size) if has_area else "no_area" for box, has_area in zip(corners, with_area)]
    found = [{"unusable": reason} if reason else None for reason in reasons]
    usable = np.array([one is None for one in found], bool)
    bar.update(len(found) - int(usable.sum()))
    for kind, prompts_of in ((True, oriented_prompts), (False, _box_prompts)):
        index = np.flatnonzero(usable & (oriented == kind))
        if not len(index):
            continue
        ordered = oriented_corners(corners[index])
        for objects in segmenter(image, prompts_of(ordered)):
            codes = encode_logits(objects.logits, objects.regions, size)
            for i, code, score in zip(objects.index.tolist(), codes, objects.iou.tolist()):
                measured = measure_mask(code, ordered[i].numpy())
                found[index[i]] = {"score": round(score, 4), "counts": code["counts"].decode(), **measured}
            bar.update(len(codes))
    return {"size": list(size), "objects": found}


def _unusable(corners: np.ndarray, size: tuple[int, int]) -> str | None:
    """Why a box that has an area cannot be asked about, a key of `filters.REASONS`."""
    (x1, y1), (x2, y2) = corners.min(0), corners.max(0)
    return "outside" if x2 <= 0 or y2 <= 0 or x1 >= size[1] or y1 >= size[0] else None


def _box_prompts(corners: Tensor) -> Prompts:
    return Prompts(torch.cat([corners.amin(1), corners.amax(1)], 1))
