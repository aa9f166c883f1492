"""Seams between tiles: every object once and whole, wherever the tiles begin.

Each object that a tile shows is one of four kinds, by the box of its mask alone:

* It is dropped where another tile answers for it: one whose window shows this box with its margin, and so all that this
  tile shows of the object, or more.
* PLAIN: this tile answers for it, and no other tile can disagree.
* PRIMARY or SPARE: this tile answers for it, or would if its outline were a few pixels larger, smaller or elsewhere.
  Two tiles may find outlines that differ by as much, so these are compared between tiles before any is kept.
* FRAGMENT: no window shows it whole. Fragments of one object agree in the strip that their windows share; they become
  one object.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product

import cv2
import numpy as np
from shapely import STRtree, box

from .found import Piece, from_mask, shared_window
from .tiles import Axis, Tile, TileGrid

TOLERANCE = 4  # pixels by which the outlines that two tiles find of one object may differ
_SAME = 0.5  # share of the smaller mask, in what both windows show, from which two masks are of one object
_LEAST_PART = 4  # pixels: smaller parts of masks are not compared with each other


class Kind(StrEnum):
    """What becomes of an object that a tile shows; see above."""

    PLAIN = "plain"
    PRIMARY = "primary"
    SPARE = "spare"
    FRAGMENT = "fragment"


@dataclass(frozen=True)
class Candidate:
    """An object at a seam.

    Args:
        kind: PRIMARY, SPARE or FRAGMENT.
        tile: the tile that shows it.
        piece: its mask.
    """

    kind: Kind
    tile: Tile
    piece: Piece


def kind_of(grid: TileGrid, tile: Tile, extent: tuple[int, int, int, int]) -> Kind | None:
    """Decide what becomes of an object.

    Args:
        grid: the tiles.
        tile: the tile that shows the object.
        extent: box around its mask, XYXY, scene pixels.

    Returns:
        Its kind; None to drop it.
    """
    if _inside(extent, tile.core):
        return Kind.PLAIN
    axes = ((grid.x, tile.column, extent[::2]), (grid.y, tile.row, extent[1::2]))
    answers = [axis.responsible(*ends) for axis, _, ends in axes]
    possible = [_possible(axis, ends) for axis, _, ends in axes]
    mine = [index for _, index, _ in axes]
    if answers == mine:
        return Kind.PRIMARY
    if not all(index in found or None in found for found, index in zip(possible, mine)):
        return None
    return Kind.FRAGMENT if None in answers else Kind.SPARE


def may_answer(grid: TileGrid, tile: Tile, box: Sequence[float]) -> bool:
    """Tell whether a tile may have to answer for an object, before its mask is known.

    Args:
        grid: the tiles.
        tile: the tile that shows the object.
        box: box that holds the mask, XYXY, scene pixels.

    Returns:
        False only if `kind_of` drops every mask in the box.
    """
    slack = TOLERANCE + 2  # a mask may reach a pixel beyond its box, and ends at whole pixels
    for axis, index, low, high in ((grid.x, tile.column, *box[::2]), (grid.y, tile.row, *box[1::2])):
        first = axis.core_of(low - slack)
        if first != index and first == axis.core_of(high + slack):  # within the core of another tile
            return False
    return True


def _possible(axis: Axis, ends: tuple[int, int]) -> set[int | None]:
    """The tiles that would answer for an object of about this extent."""
    steps = (-TOLERANCE, 0, TOLERANCE)
    moved = ((max(ends[0] + a, 0), min(ends[1] + b, axis.length)) for a, b in product(steps, steps))
    return {axis.responsible(low, high) for low, high in moved if low < high}


def _inside(extent: Sequence[int], core: Sequence[int]) -> bool:
    """Whether an object is of this core alone, and would be if its outline were a little different."""
    low = all(extent[i] - TOLERANCE >= core[i] or core[i] == 0 for i in (0, 1))
    return low and all(extent[i] + TOLERANCE <= core[i] for i in (2, 3))


class Seams:
    """Joins the candidates of a grid row by row; memory holds those that a later row may still touch.

    Args:
        grid: the tiles.
    """

    def __init__(self, grid: TileGrid):
        self._grid = grid
        self._open: list[list[Candidate]] = []

    def add_row(self, row: int, candidates: Iterable[Candidate]) -> Iterator[Piece]:
        """Add the candidates of the tiles of a row, after those of the rows before.

        Args:
            row: number of the row.
            candidates: its candidates, in a fixed order.

        Yields:
            The objects that no later row can change, in a fixed order.
        """
        groups = _joined(self._open, [[candidate] for candidate in candidates])
        last = row == self._grid.y.count - 1
        next_row = self._grid.y.length if last else self._grid.y.window(row + 1)[0]
        self._open = []
        for group in groups:
            if last or max(candidate.piece.box[3] for candidate in group) <= next_row:
                yield from _resolve(group)
            else:
                self._open.append(group)


def _joined(*groups: list[list[Candidate]]) -> list[list[Candidate]]:
    """Merge groups in which candidates of different tiles are of one object."""
    everything = [group for part in groups for group in part]
    members = [(number, candidate) for number, group in enumerate(everything) for candidate in group]
    parent = list(range(len(everything)))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    tree = STRtree([box(*candidate.piece.box) for _, candidate in members])
    for i, (number, candidate) in enumerate(members):
        for j in np.sort(tree.query(box(*candidate.piece.box))):
            other, neighbour = members[j]
            if j > i and root(number) != root(other) and are_one(candidate, neighbour):
                low, high = sorted((root(number), root(other)))
                parent[high] = low
    merged = defaultdict(list)
    for number, candidate in members:
        merged[root(number)].append(candidate)
    return list(merged.values())


def are_one(a: Candidate, b: Candidate) -> bool:
    """Whether two candidates show the same object, judged in the strip that their windows share."""
    if a.tile.key == b.tile.key or a.piece.class_id != b.piece.class_id:
        return False
    strip = shared_window(a.tile.window, b.tile.window)
    both = strip and shared_window(strip, a.piece.box, b.piece.box)
    if not strip or not both:
        return False
    common = a.piece.crop(both) & b.piece.crop(both)
    if not common.any():
        return False
    first, second = (_in_window(candidate.piece, strip) for candidate in (a, b))
    if common.sum() >= _SAME * min(first.sum(), second.sum()):
        return True
    # Cut in different places, one object may have fallen into parts of which the tiles share only some.
    return a.kind == b.kind == Kind.FRAGMENT and _share_a_part(a.piece, b.piece, strip)


def _in_window(piece: Piece, window: tuple[int, int, int, int]) -> np.ndarray:
    shown = shared_window(piece.box, window)
    return piece.crop(shown) if shown else np.zeros((0, 0), bool)


def _share_a_part(a: Piece, b: Piece, strip: tuple[int, int, int, int]) -> bool:
    canvas = _around([a.box, b.box])
    window = shared_window(canvas, strip)
    assert window is not None
    labels = []
    for piece in (a, b):
        mask = np.zeros((window[3] - window[1], window[2] - window[0]), np.uint8)
        _paint(mask, window, piece)
        labels.append(cv2.connectedComponents(mask, connectivity=4)[1])
    pairs, counts = np.unique(np.stack([part.ravel() for part in labels]), axis=1, return_counts=True)
    sizes = [np.bincount(part.ravel()) for part in labels]
    for (first, second), common in zip(pairs.T, counts):
        together = sizes[0][first] + sizes[1][second] - common
        if first and second and common >= _LEAST_PART and common >= _SAME * together:
            return True
    return False


def _resolve(group: list[Candidate]) -> list[Piece]:
    """The objects of a group."""
    fragments = [candidate.piece for candidate in group if candidate.kind == Kind.FRAGMENT]
    primaries = [candidate for candidate in group if candidate.kind == Kind.PRIMARY]
    spares = [candidate for candidate in group if candidate.kind == Kind.SPARE]
    if fragments:
        whole = _union(fragments)
        # A tile may take a part of a large object for all of it.
        if not any(2 * candidate.piece.area >= whole.area for candidate in primaries):
            return [whole]
    kept: list[Candidate] = []
    for candidate in [*_best_first(primaries), *_best_first(spares)]:
        if not any(are_one(candidate, other) for other in kept):
            kept.append(candidate)
    return [candidate.piece for candidate in kept]


def _best_first(candidates: list[Candidate]) -> list[Candidate]:
    return sorted(candidates, key=lambda c: (-c.piece.area * c.piece.score, c.tile.row, c.tile.column))


def _union(pieces: list[Piece]) -> Piece:
    if len(pieces) == 1:
        return pieces[0]
    canvas = _around([piece.box for piece in pieces])
    mask = np.zeros((canvas[3] - canvas[1], canvas[2] - canvas[0]), np.uint8)
    for piece in pieces:
        _paint(mask, canvas, piece)
    return from_mask(mask.astype(bool), canvas[:2], pieces[0].class_id, max(piece.score for piece in pieces))


def _paint(mask: np.ndarray, window: tuple[int, int, int, int], piece: Piece) -> None:
    """Set the pixels of a piece in the mask of a window."""
    shown = shared_window(piece.box, window)
    if shown is not None:
        x0, y0, x1, y1 = shown
        mask[y0 - window[1] : y1 - window[1], x0 - window[0] : x1 - window[0]] |= piece.crop(shown)


def _around(boxes: list[tuple[int, int, int, int]]) -> tuple[int, int, int, int]:
    low, high = np.min([b[:2] for b in boxes], 0), np.max([b[2:] for b in boxes], 0)
    return (*low.tolist(), *high.tolist())
