"""Detection on the tiles of a scene."""

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch

from insight.errors import InputError
from insight.inference.prediction import Prediction

from .found import Piece, cut_out, from_mask
from .raster import Raster
from .seams import Candidate, Kind, Seams, kind_of, may_answer
from .tiles import Tile, TileGrid
from .work import Found, Results, model_settings


class Detector(Protocol):
    """What finds objects in a tile: `PromptPredictor`, or any object with these three.

    It may have three methods more: `for_tiles()`, which returns the form of it to use on tiles; `set_tile(image,
    origin)`, called in place of `set_image` with the (x, y) of the tile's corner in the scene; and
    `detect_where(keep)`, called in place of `detect`, which may leave out objects by their boxes, as
    `PromptPredictor.detect_where` does.

    Attributes:
        class_names: names of the classes.
    """

    class_names: Any

    def set_image(self, image: np.ndarray) -> None:
        """Take an image (H, W, 3) uint8 RGB."""

    def detect(self) -> Prediction:
        """Find the objects in it."""


class TileDetection:
    """Detection on every tile, as the jobs of a run.

    Args:
        raster: the scene.
        model: the detector.
        grid: the tiles.

    Raises:
        InputError: the model cannot detect.
    """

    unit = "tile"

    def __init__(self, raster: Raster, model: Detector, grid: TileGrid):
        if not hasattr(model, "detect"):
            raise InputError(
                f"model: {type(model).__name__} does not detect objects; give boxes, oriented_boxes or points"
            )
        self.raster, self.grid = raster, grid
        self.settings = {"model": model_settings(model), **grid.settings}
        self._model = for_tiles(model)
        self.categories = list(model.class_names)
        self._tiles = {tile.key: tile for tile in grid}
        self.keys = list(self._tiles)

    def read(self, key: str) -> np.ndarray:
        return self.raster.read(self._tiles[key].window)

    def answer(self, key: str, pixels: np.ndarray) -> Prediction | None:
        if not pixels.any():  # no data
            return None
        tile = self._tiles[key]
        set_tile(self._model, pixels, tile)
        if not hasattr(self._model, "detect_where"):
            return self._model.detect()
        corner = torch.tensor(tile.window[:2] * 2)

        def keep(boxes: torch.Tensor) -> torch.Tensor:
            return torch.tensor(
                [may_answer(self.grid, tile, box) for box in (boxes + corner).tolist()], dtype=torch.bool
            )

        return self._model.detect_where(keep)

    def pack(self, key: str, answer: Prediction | None) -> list:
        tile, packed = self._tiles[key], []
        for piece in [] if answer is None else pieces_of(answer, tile):
            if piece is not None and (kind := kind_of(self.grid, tile, piece.box)) is not None:
                packed.append([kind, piece.to_json()])
        return packed

    def found(self, results: Results) -> Iterator[Found]:
        seams = Seams(self.grid)
        for row in range(self.grid.y.count):
            plain: list[Piece] = []
            candidates: list[Candidate] = []
            for column in range(self.grid.x.count):
                tile = self.grid.tile(row, column)
                for kind, values in results[tile.key]:
                    piece = Piece.from_json(values)
                    if kind == Kind.PLAIN:
                        plain.append(piece)
                    else:
                        candidates.append(Candidate(Kind(kind), tile, piece))
            pieces = [*plain, *seams.add_row(row, candidates)]
            yield Found(pieces, [piece.class_id for piece in pieces], [piece.score for piece in pieces])


def for_tiles(model: Any) -> Any:
    """Return the form of a predictor for tiles, if it has one; else the predictor."""
    return model.for_tiles() if hasattr(model, "for_tiles") else model


def set_tile(model: Any, pixels: np.ndarray, tile: Tile) -> None:
    """Set the image of a predictor to a tile, and its place in the scene if the predictor takes one."""
    if hasattr(model, "set_tile"):
        model.set_tile(pixels, tile.window[:2])
    else:
        model.set_image(pixels)


def pieces_of(prediction: Prediction, tile: Tile) -> Iterator[Piece | None]:
    """Cut the instances of a tile out, their boxes where the model has no masks.

    Args:
        prediction: N instances of the tile.
        tile: the tile.

    Yields:
        N masks; None where one is empty.
    """
    x0, y0 = tile.window[:2]
    codes = prediction.masks or [None] * len(prediction)
    numbers = zip(codes, prediction.boxes.tolist(), prediction.class_ids.tolist(), prediction.scores.tolist())
    height, width = prediction.image_size
    for code, box, class_id, score in numbers:
        if code is not None:
            yield cut_out(code, (x0, y0), class_id, score)
            continue
        left, top = max(round(box[0]), 0), max(round(box[1]), 0)
        right, bottom = min(round(box[2]), width), min(round(box[3]), height)
        filled = np.ones((max(bottom - top, 0), max(right - left, 0)), bool)
        yield from_mask(filled, (left + x0, top + y0), class_id, score) if filled.size else None
