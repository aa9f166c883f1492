"""Tiles of a scene, and which of them answers for an object.

The cores of the tiles partition the scene; neighbouring windows overlap around the border of their cores. What a window
shows close to its edge is judged from too little of the scene, so a tile answers only for objects that keep a margin to
the edges of its window, those of the scene excepted.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from insight.errors import InputError

STRIDE = 64  # pixels: windows begin at multiples of a detector's largest stride (P6), so that its grids coincide
OVERLAP = 256  # pixels, unless given
_LEAST_TILE = 2 * STRIDE


@dataclass(frozen=True)
class Axis:
    """The tiles along one axis of a scene.

    Args:
        length: of the scene, pixels.
        side: of a window, pixels; the last one may be shorter.
        overlap: of neighbouring windows, pixels.
        margin: the least distance from an object to an edge of a window that answers for it, pixels.
    """

    length: int
    side: int
    overlap: int
    margin: int

    @property
    def count(self) -> int:
        """Number of tiles."""
        return 1 if self.length <= self.side else -(-(self.length - self.side) // self._step) + 1

    @property
    def _step(self) -> int:
        return self.side - self.overlap

    def window(self, index: int) -> tuple[int, int]:
        """Begin and end of a tile's window, pixels."""
        low = index * self._step
        return low, min(low + self.side, self.length)

    def core(self, index: int) -> tuple[int, int]:
        """Begin and end of a tile's core, pixels."""
        low, high = self.window(index)
        half = self.overlap // 2
        return low + half * (index > 0), self.length if index == self.count - 1 else high - half

    def core_of(self, place: float) -> int:
        """The tile whose core holds a place, pixels."""
        half = self.overlap // 2
        return min(max(int((place - half) // self._step), 0), self.count - 1)

    def sees_whole(self, index: int, low: float, high: float) -> bool:
        """Whether the window holds the extent of an object with its margin."""
        first, last = self.window(index)
        starts = index == 0 or low >= first + self.margin
        return starts and (index == self.count - 1 or high <= last - self.margin)

    def responsible(self, low: float, high: float) -> int | None:
        """The tile that answers for an object of this extent; None if no window shows it whole."""
        own = self.core_of((low + high) / 2)
        if self.sees_whole(own, low, high):
            return own
        begin, end = max(self.core_of(low) - 1, 0), min(self.core_of(high) + 1, self.count - 1)
        seen = [i for i in range(begin, end + 1) if self.sees_whole(i, low, high)]
        return min(seen, key=lambda i: (abs(i - own), i)) if seen else None


class Tile(NamedTuple):
    """A tile.

    Attributes:
        row, column: its place in the grid.
        window: (x0, y0, x1, y1), scene pixels; what is read.
        core: (x0, y0, x1, y1), scene pixels; the cores partition the scene.
    """

    row: int
    column: int
    window: tuple[int, int, int, int]
    core: tuple[int, int, int, int]

    @property
    def key(self) -> str:
        """Name of the tile in its grid."""
        return f"{self.row},{self.column}"


def check_tiling(tile_size: int, overlap: int | None) -> None:
    """Check the sizes of a `TileGrid`.

    Args:
        tile_size, overlap: as `TileGrid` takes them.

    Raises:
        InputError: a tile of less than 128 pixels, or an overlap of less than 2 or more than half a tile.
    """
    if tile_size < _LEAST_TILE:
        raise InputError(f"tile_size: expected at least {_LEAST_TILE} pixels, got {tile_size}")
    if overlap is not None and not 2 <= overlap <= tile_size // 2:
        raise InputError(f"overlap: expected 2 to {tile_size // 2} pixels, half a tile, got {overlap}")


class TileGrid:
    """The tiles of a scene.

    Args:
        size: (height, width) of the scene, pixels.
        tile_size: side of the windows, pixels; rounded up to a multiple of 64.
        overlap: of neighbouring windows, pixels; rounded up to a multiple of 64 and at most half a tile. None: 256.

    Raises:
        InputError: as `check_tiling`.
    """

    def __init__(self, size: tuple[int, int], tile_size: int = 1024, overlap: int | None = None):
        check_tiling(tile_size, overlap)
        side = -(-tile_size // STRIDE) * STRIDE
        most = side // 2 // STRIDE * STRIDE
        shared = min(-(-(OVERLAP if overlap is None else overlap) // STRIDE) * STRIDE, most)
        height, width = size
        self.margin = shared // 8
        self.y, self.x = (Axis(length, side, shared, self.margin) for length in (height, width))

    def __len__(self) -> int:
        return self.y.count * self.x.count

    def __iter__(self) -> Iterator[Tile]:
        """All tiles, row by row."""
        return (self.tile(row, column) for row in range(self.y.count) for column in range(self.x.count))

    @cached_property
    def settings(self) -> dict[str, int]:
        """What the tiles depend on besides the size of the scene, pixels."""
        return {"tile_size": self.x.side, "overlap": self.x.overlap}

    def tile(self, row: int, column: int) -> Tile:
        """The tile at a place of the grid."""
        (y0, y1), (x0, x1) = self.y.window(row), self.x.window(column)
        (top, bottom), (left, right) = self.y.core(row), self.x.core(column)
        return Tile(row, column, (x0, y0, x1, y1), (left, top, right, bottom))

    def tile_of(self, box: tuple[float, float, float, float]) -> Tile:
        """The tile that shows a box best: whole, or else around its centre.

        Args:
            box: XYXY, scene pixels.
        """
        rows, columns = ((axis.responsible(*ends), axis.core_of(sum(ends) / 2))
                         for axis, ends in ((self.y, box[1::2]), (self.x, box[::2])))  # fmt: skip
        row, column = (own if best is None else best for best, own in (rows, columns))
        return self.tile(row, column)
