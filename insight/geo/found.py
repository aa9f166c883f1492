"""Objects found in a tile, in pixels of the scene, as they are kept in the journal of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely

from insight.structures.rle import decode_crop, encode_crop, rle_area, rle_box

from .polygons import mask_polygons


@dataclass(frozen=True)
class Piece:
    """A mask in its own window, of a size that does not grow with the scene.

    Args:
        x, y: the first pixel of the window, scene pixels.
        code: COCO RLE of the window.
        class_id: index of the class.
        score: 0 to 1.
    """

    x: int
    y: int
    code: dict
    class_id: int
    score: float

    @property
    def box(self) -> tuple[int, int, int, int]:
        """XYXY of the window, scene pixels."""
        height, width = self.code["size"]
        return self.x, self.y, self.x + width, self.y + height

    @property
    def area(self) -> int:
        """Pixels of the mask."""
        return rle_area(self.code)

    def crop(self, window: tuple[int, int, int, int]) -> np.ndarray:
        """The mask in a part of its window.

        Args:
            window: XYXY, scene pixels, inside `box`.

        Returns:
            (y1 - y0, x1 - x0) bool.
        """
        x0, y0, x1, y1 = window
        return decode_crop(self.code, (x0 - self.x, y0 - self.y, x1 - self.x, y1 - self.y))

    @property
    def mask(self) -> np.ndarray:
        """(h, w) bool, the whole window."""
        return self.crop(self.box)

    def to_json(self) -> list:
        """Convert to JSON values."""
        return [self.x, self.y, *self.code["size"], self.code["counts"].decode(), self.class_id, self.score]

    @classmethod
    def from_json(cls, values: list) -> "Piece":
        """The reverse of `to_json`."""
        x, y, height, width, counts, class_id, score = values
        return cls(x, y, {"size": [height, width], "counts": counts.encode()}, class_id, score)


def cut_out(code: dict, origin: tuple[int, int], class_id: int, score: float) -> Piece | None:
    """Cut a mask out of the image of a tile.

    Args:
        code: COCO RLE of the tile's image.
        origin: (x, y) of the tile's first pixel in the scene.
        class_id: index of the class.
        score: its score.

    Returns:
        The mask in the box around it; None if it is empty.
    """
    x, y, width, height = rle_box(code)
    if not width:
        return None
    return from_mask(decode_crop(code, (x, y, x + width, y + height)), (x + origin[0], y + origin[1]), class_id, score)


def from_mask(mask: np.ndarray, origin: tuple[int, int], class_id: int, score: float) -> Piece:
    """Encode a mask (h, w) bool whose first pixel is `origin` (x, y) of the scene."""
    return Piece(*origin, encode_crop(mask, (0, 0), mask.shape), class_id, score)


def piece_polygons(pieces: Sequence[Piece | None], simplify: float = 0.0, regularize: bool = False) -> np.ndarray:
    """Outline masks in pixels of the scene.

    Args:
        pieces: N masks, or None.
        simplify, regularize: as in `mask_polygons`.

    Returns:
        (N,) array of polygons; empty ones for None.
    """
    polygons = np.full(len(pieces), shapely.Polygon(), object)
    index = [i for i, piece in enumerate(pieces) if piece is not None]
    codes = [piece.code for piece in pieces if piece is not None]
    origins = np.array([(piece.x, piece.y) for piece in pieces if piece is not None]).reshape(-1, 2)
    # Each in its own window, so that rounding does not depend on its place.
    outlines = np.array(mask_polygons(codes, simplify=simplify, regularize=regularize), object)
    points, owners = shapely.get_coordinates(outlines, return_index=True)
    polygons[index] = shapely.set_coordinates(outlines, points + origins[owners])
    return polygons


def shared_window(*boxes: Any) -> tuple[int, int, int, int] | None:
    """The intersection of boxes XYXY; None if it is empty."""
    x0, y0 = (max(box[i] for box in boxes) for i in (0, 1))
    x1, y1 = (min(box[i] for box in boxes) for i in (2, 3))
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None
