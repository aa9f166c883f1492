"""The masks of a journal, each with its box and a verdict."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from insight.data.formats.coco import rle_fills
from insight.errors import InputError, InsightError
from insight.runtime.journal import Journal

from .filters import Filters
from .segmentation import blocks
from .sources import Source, SourceImage


@dataclass(frozen=True)
class Verdict:
    """Whether a mask is kept.

    Args:
        keep: the mask is kept.
        reasons: reasons against it, keys of `filters.REASONS`; a person may keep it nevertheless.
    """

    keep: bool
    reasons: tuple[str, ...] = ()

    @property
    def by_hand(self) -> bool:
        """Whether a person overruled the filters."""
        return self.keep == bool(self.reasons)


@dataclass(frozen=True)
class Candidate:
    """A mask that may become an annotation.

    Args:
        id: id of its box in the source.
        image: the image.
        size: (height, width) of the image, pixels.
        class_name: class of the box.
        corners: (4, 2) XY corners of the box, image pixels.
        given: what the source says of the box.
        measured: an object as `segment_source` keeps it.
    """

    id: int | str
    image: SourceImage
    size: tuple[int, int]
    class_name: str
    corners: np.ndarray
    given: dict[str, Any]
    measured: dict[str, Any]

    @property
    def code(self) -> dict[str, Any] | None:
        """The mask as COCO RLE; None if its box could not be used."""
        counts = self.measured.get("counts")
        return None if counts is None else {"size": list(self.size), "counts": counts}

    def to_annotation(self, category_id: int | str) -> dict[str, Any]:
        """COCO annotation of the mask, with its box as the source gave it; bbox is the mask's where it gave none."""
        return {
            "id": self.id,
            "image_id": self.image.id,
            "category_id": category_id,
            "bbox": self.measured["bbox"],
            "area": self.measured["area"],
            "iscrowd": 0,
            "segmentation": self.code,
            "score": self.measured["score"],
            **self.given,
        }


def by_filters(filters: Filters) -> Callable[[Candidate], Verdict]:
    """Judge candidates by filters."""

    def judge(candidate: Candidate) -> Verdict:
        reasons = tuple(filters.reasons(candidate.measured))
        return Verdict(not reasons, reasons)

    return judge


def read_candidates(
    source: Source, journal: Journal, failures: dict[str, str]
) -> Iterator[tuple[SourceImage, tuple[int, int], Iterator[Candidate]]]:
    """Read the masks of a journal in the order of the source, a block at a time.

    Args:
        source: the boxes.
        journal: the journal that `segment_source` has filled.
        failures: gets the names of images whose masks are missing, and why.

    Yields:
        An image, its (height, width), and its candidates.
    """
    for image in source.images:
        if image.name in failures:
            continue
        try:
            boxes = source.read(image)
            parts = blocks(image, boxes)
        except (OSError, InsightError) as error:
            failures[image.name] = str(error)
            continue
        if not all(key in journal for key, _ in parts):
            failures[image.name] = f"{image.path}: its boxes have no masks in {journal.path} yet"
            continue
        size = tuple(_block(journal, *parts[0])["size"])
        yield image, size, _candidates(image, size, boxes, parts, journal)


def _candidates(image, size, boxes, parts, journal) -> Iterator[Candidate]:
    for key, part in parts:
        for i, measured in zip(range(part.start, part.stop), _block(journal, key, part)["objects"], strict=True):
            yield Candidate(boxes.ids[i], image, size, boxes.class_names[i], boxes.corners[i], boxes.given(i), measured)


def _block(journal: Journal, key: str, part: slice) -> dict[str, Any]:
    """A result of `segment_source`, whose form is checked."""
    block = journal[key]
    try:
        size, objects = block["size"], block["objects"]
        sound = len(size) == 2 and len(objects) == part.stop - part.start
        sound = sound and all("unusable" in found or _is_mask(found, size) for found in objects)
    except (TypeError, KeyError, AttributeError):
        sound = False
    if not sound:
        raise InputError(f"{journal.path}, the result of {key}: damaged; remove the file to start over")
    return block


def _is_mask(found: dict[str, Any], size: list[int]) -> bool:
    measured = {"score", "bbox"} | ({"in_box", "area_ratio", "largest_part"} if found["area"] else set())
    return measured <= found.keys() and rle_fills(found["counts"], size)
