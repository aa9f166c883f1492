"""A drawn town of any size as a raster, with every object in it, for measurements on scenes of known truth."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio
from affine import Affine
from rasterio.windows import Window

from insight.data.scenes import CATEGORIES, KINDS, draw_scene
from insight.errors import InputError
from insight.runtime.outputs import check_output_file
from insight.runtime.processes import map_in_processes

from .features import feature_table
from .found import Piece, from_mask, piece_polygons
from .polygons import transform_polygons
from .writers import Writer

GSD = 0.5  # metres
CRS = "EPSG:32632"
TRANSFORM = Affine(GSD, 0, 494_000, 0, -GSD, 4_917_000)  # its corner is in the harbour of Genoa
BLOCK = 500  # pixels: a block of the town is a scene
_STREET = 6  # pixels between blocks; it covers what the border of a scene has cut
_ASPHALT = 96, 96, 98
_SHARES = {"harbour": 0.3, "residential": 0.25, "car_park": 0.15, "tank_farm": 0.15, "apron": 0.15}
_TILE = 512  # pixels, of the file
_LEAST_PIXELS = 10  # as in a scene


def write_town(path: str | os.PathLike, size: int, seed: int = 0) -> int:
    """Draw a town, block by block, in memory that grows with its width alone.

    A town is a grid of scenes (`insight.data.scenes.draw_scene`) with streets between them; the same seed and size
    give the same bytes, however many processes draw. The nominal ground sampling distance is 0.5 m, although every
    block is drawn to a scale of its own.

    Args:
        path: the GeoTIFF to write, tiled, in EPSG:32632. Beside it, NAME_truth.gpkg gets the polygon of the visible
            mask of every object, with its class.
        size: sides of the town, pixels.
        seed: non-negative.

    Returns:
        The number of objects.

    Raises:
        InputError: a size below one block, or another suffix than .tif.
        OSError: the files cannot be written.
    """
    path = check_output_file(path, suffixes=(".tif", ".tiff"))
    if size < BLOCK:
        raise InputError(f"size: expected at least {BLOCK} pixels, got {size}")
    if seed < 0:
        raise InputError(f"seed: expected 0 or more, got {seed}")
    blocks = -(-size // BLOCK)
    profile = {"driver": "GTiff", "width": size, "height": size, "count": 3, "dtype": "uint8", "crs": CRS}
    layout = {"tiled": True, "blockxsize": _TILE, "blockysize": _TILE, "photometric": "RGB", "BIGTIFF": "IF_SAFER"}
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    objects = 0
    places = [(row, column) for row in range(blocks) for column in range(blocks)]
    drawn = map_in_processes(partial(_draw, seed, size), places, "Drawing a town", "block")
    try:
        with (
            rasterio.open(unfinished, "w", **profile, **layout, transform=TRANSFORM) as file,
            Writer(truth_path(path), CRS, oriented_boxes=False) as truth,
        ):
            strips = _Strips(file)
            for _ in range(blocks):
                images, found = zip(*(next(drawn) for _ in range(blocks)))
                strips.add(np.concatenate(images, 1))
                pieces = [piece for of_block in found for piece in of_block]
                truth.write(_table(pieces, objects))
                objects += len(pieces)
            strips.finish()
        os.replace(unfinished, path)
    finally:
        drawn.close()  # type: ignore[attr-defined] # a generator, which ends its processes
        unfinished.unlink(missing_ok=True)
    return objects


def truth_path(path: str | os.PathLike) -> Path:
    """Return the name of the layer of a town's objects."""
    return Path(path).with_name(f"{Path(path).stem}_truth.gpkg")


def _draw(seed: int, size: int, place: tuple[int, int]) -> tuple[np.ndarray, list[list[Any]]]:
    """A block: (h, w, 3) uint8, and [x, y, h, w, RLE, class, 1.0] of each object, pixels of the town."""
    row, column = place
    rng = np.random.default_rng([seed, row, column])
    kind = str(rng.choice(list(_SHARES), p=list(_SHARES.values())))
    assert kind in KINDS
    scene = draw_scene(int(rng.integers(2**31)), (BLOCK, BLOCK), kind, "optical")
    x0, y0 = column * BLOCK, row * BLOCK
    width, height = min(BLOCK, size - x0), min(BLOCK, size - y0)
    image = scene.image.copy()
    street = np.zeros((BLOCK, BLOCK), bool)
    street[-_STREET:], street[:, -_STREET:] = True, True
    image[street] = np.clip(np.array(_ASPHALT) + rng.normal(0, 4, (int(street.sum()), 1)), 0, 255)
    found = []
    for instance in scene.instances:
        x, y, w, h = instance.box
        mask = instance.mask & ~street[y : y + h, x : x + w]
        mask = mask[: max(height - y, 0), : max(width - x, 0)]
        if mask.sum() >= _LEAST_PIXELS:
            top, left = (np.flatnonzero(mask.any(axis))[[0, -1]] for axis in (1, 0))
            tight = np.ascontiguousarray(mask[top[0] : top[1] + 1, left[0] : left[1] + 1])
            origin = int(x0 + x + left[0]), int(y0 + y + top[0])
            found.append(from_mask(tight, origin, CATEGORIES.index(instance.category), 1.0).to_json())
    return image[:height, :width], found


class _Strips:
    """Writes rows of a tiled file in whole rows of its tiles."""

    def __init__(self, file: Any):
        self._file, self._begun, self._rows = file, 0, np.zeros((0, file.width, 3), np.uint8)

    def add(self, rows: np.ndarray) -> None:
        self._rows = np.concatenate([self._rows, rows])
        whole = len(self._rows) // _TILE * _TILE
        self._write(whole)

    def finish(self) -> None:
        self._write(len(self._rows))

    def _write(self, count: int) -> None:
        if count:
            place = Window(0, self._begun, self._file.width, count)
            self._file.write(self._rows[:count].transpose(2, 0, 1), window=place)
            self._begun, self._rows = self._begun + count, self._rows[count:]


def _table(pieces: list[list[Any]], begun: int) -> geopandas.GeoDataFrame:
    objects = [Piece.from_json(piece) for piece in pieces]
    return feature_table(
        transform_polygons(piece_polygons(objects), TRANSFORM),
        CRS,
        class_ids=[piece.class_id for piece in objects],
        categories=CATEGORIES,
        scores=[piece.score for piece in objects],
        instance_ids=range(begun + 1, begun + 1 + len(objects)),
    )
