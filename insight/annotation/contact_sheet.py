"""Contact sheets of masks."""

import os
from collections import defaultdict
from collections.abc import Sequence

import cv2
import numpy as np

from insight.data.formats.images import write_png
from insight.errors import InsightError
from insight.structures.rle import decode_crop, rle_box

from .candidates import Candidate, Verdict
from .pixels import read_pixels

COUNT = 100
COLUMNS, TILE, CAPTION = 10, 160, 28  # most tiles in a row, pixels of a tile and of the text below it
_MARGIN = 1.5  # what a tile shows, as a multiple of box and mask
_LEAST_SIDE = 24  # pixels of the image that a tile shows at least
_MASK, _BOX, _TEXT, _NOTHING = (255, 235, 60), (60, 220, 255), (235, 235, 235), 40


class Extremes:
    """The masks with the lowest or highest scores in a stream; memory holds at most twice as many.

    Args:
        sign: 1 for the lowest scores, -1 for the highest.
        count: number of masks.
    """

    def __init__(self, sign: int, count: int = COUNT):
        self._sign, self._count = sign, count
        self._found: list[tuple[Candidate, Verdict]] = []

    def add(self, candidate: Candidate, verdict: Verdict) -> None:
        """Add a candidate, if it has a mask."""
        if "score" in candidate.measured:
            self._found.append((candidate, verdict))
        if len(self._found) >= 2 * self._count:
            self._found = self.best()

    def best(self) -> list[tuple[Candidate, Verdict]]:
        """Return the masks, sorted by score and then by id."""
        key = lambda found: (self._sign * found[0].measured["score"], found[0].id)  # noqa: E731
        return sorted(self._found, key=key)[: self._count]


def draw_contact_sheet(masks: Sequence[tuple[Candidate, Verdict]], path: str | os.PathLike) -> None:
    """Draw masks side by side, each as an outline on its surroundings, with its box and score.

    Args:
        masks: masks of any images; each image is read once, and tiles stay empty if it cannot be read. If there are
            none, the picture says so.
        path: the PNG file.
    """
    by_image = defaultdict(list)
    for place, (candidate, _) in enumerate(masks):
        by_image[candidate.image.path].append(place)
    columns, rows = min(max(len(masks), 1), COLUMNS), max(1, -(-len(masks) // COLUMNS))
    sheet = np.zeros((rows * (TILE + CAPTION), columns * TILE, 3), np.uint8)
    for image_path, places in by_image.items():
        try:
            image = read_pixels(image_path)
        except (OSError, InsightError):
            image = None
        for place in places:
            y, x = place // COLUMNS * (TILE + CAPTION), place % COLUMNS * TILE
            _draw(sheet[y : y + TILE + CAPTION, x : x + TILE], image, *masks[place])
    if not masks:
        _write(sheet, "none", (TILE // 2, TILE // 2))
    write_png(path, sheet)


def _draw(tile: np.ndarray, image: np.ndarray | None, candidate: Candidate, verdict: Verdict) -> None:
    if image is not None and image.shape[:2] == candidate.size:
        tile[: TILE - 2, : TILE - 2] = _picture(image, candidate)
    lines = (f"{candidate.id} {candidate.class_name}", f"{candidate.measured['score']:.2f} {'+'.join(verdict.reasons)}")
    for number, line in enumerate(lines, 1):
        _write(tile, line, (2, TILE + 12 * number - 2))


def _write(picture: np.ndarray, text: str, place: tuple[int, int]) -> None:
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.36, _TEXT, 1, cv2.LINE_AA)


def _picture(image: np.ndarray, candidate: Candidate) -> np.ndarray:
    side = TILE - 2
    x0, y0, extent = _window(candidate)
    height, width = candidate.size
    left, top = np.clip([x0, y0], 0, [width, height])
    right, bottom = np.clip([x0 + extent, y0 + extent], 0, [width, height])
    crop = np.full((extent, extent, 3), _NOTHING, np.uint8)
    mask = np.zeros((extent, extent), np.uint8)
    inside = np.s_[top - y0 : bottom - y0, left - x0 : right - x0]
    crop[inside] = image[top:bottom, left:right]
    mask[inside] = decode_crop(candidate.code, (left, top, right, bottom))
    enlarged = cv2.resize(crop, (side, side), interpolation=cv2.INTER_CUBIC if extent < side else cv2.INTER_AREA)
    corners = (candidate.corners - [x0, y0]) * (side / extent)
    cv2.polylines(enlarged, [np.rint((corners - 0.5) * 16).astype(np.int32)], True, _BOX, 1, cv2.LINE_AA, 4)
    mask = cv2.resize(mask, (side, side), interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(enlarged, contours, -1, _MASK, 1)
    return enlarged


def _window(candidate: Candidate) -> tuple[int, int, int]:
    """x, y and side, in image pixels, of a square around box and mask; may leave the image."""
    low, high = candidate.corners.min(0), candidate.corners.max(0)
    if candidate.measured["area"]:
        x, y, w, h = rle_box(candidate.code)
        low, high = np.minimum(low, (x, y)), np.maximum(high, (x + w, y + h))
    extent = max(_LEAST_SIDE, int(np.ceil(_MARGIN * (high - low).max())))
    x0, y0 = np.rint((low + high - extent) / 2).astype(int).tolist()
    return x0, y0, extent
