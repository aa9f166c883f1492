"""The images that are served: found once, known to clients by ids, read where their pixels are asked for."""

import hashlib
import math
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from insight.data.formats.images import SUFFIXES, image_size, read_image
from insight.errors import InputError
from insight.runtime.folders import files_under

from .byte_cache import ByteCache
from .pixels import ArrayPixels, Pixels, RasterPixels, check_pixels
from .refusal import Refusal
from .settings import Limits

TILE = 256
_RASTERS = (".tif", ".tiff", ".vrt", ".jp2")
_OPEN_RASTERS = 16


class ServedImage(NamedTuple):
    """An image file.

    Attributes:
        id: what clients call it: a digest of its name, the same whenever the folder is served.
        name: path relative to the served folder, with /.
        path: the file.
    """

    id: str
    name: str
    path: Path


class Description(NamedTuple):
    """What is known of an image without its pixels.

    Attributes:
        width, height: pixels.
        georeferenced: whether its pixels have coordinates on the ground.
    """

    width: int
    height: int
    georeferenced: bool

    @property
    def max_zoom(self) -> int:
        """The level of its tiles at which a pixel is a pixel."""
        return max(0, math.ceil(math.log2(max(self.width, self.height) / TILE)))


class Library:
    """The served images.

    Args:
        sources: folders, searched with their sub-folders, and files.
        limits: bounds.

    Raises:
        InputError: a source that does not exist, or none of them has an image.

    Attributes:
        root: the folder that names are relative to; None without sources.
    """

    def __init__(self, sources: Sequence[str | os.PathLike], limits: Limits):
        self._sources = [Path(source).absolute() for source in sources]
        self._limits = limits
        for given, path in zip(sources, self._sources):
            if not path.exists():
                raise InputError(f"{given}: no such file or folder")
        folders = [os.fspath(path if path.is_dir() else path.parent) for path in self._sources]
        self.root = Path(os.path.commonpath(folders)) if folders else None
        self._images: dict[str, ServedImage] = {}
        self._descriptions: dict[tuple, Description] = {}
        self._rasters: OrderedDict[tuple, RasterPixels] = OrderedDict()
        self._lock, self._decoding = threading.Lock(), threading.Lock()
        self.decoded: ByteCache[ArrayPixels] = ByteCache(limits.image_cache_bytes)
        self.refresh()
        if sources and not self._images:
            raise InputError(f"{', '.join(map(str, sources))}: no images ({' '.join(SUFFIXES)})")

    def refresh(self) -> None:
        """Look for images again."""
        found = {}
        for source in self._sources:
            paths = files_under(source, (*SUFFIXES, *_RASTERS)) if source.is_dir() else [source]
            for path in paths:
                name = path.relative_to(self.root).as_posix()  # type: ignore[arg-type]
                image = ServedImage(image_id(name), name, path)
                found[image.id] = image
        self._images = dict(sorted(found.items(), key=lambda pair: pair[1].name))

    @property
    def images(self) -> list[ServedImage]:
        """All images, by name."""
        return list(self._images.values())

    def __len__(self) -> int:
        return len(self._images)

    def __contains__(self, identifier: str) -> bool:
        return identifier in self._images

    def find(self, identifier: str) -> ServedImage:
        """Return the image of an id.

        Raises:
            Refusal: there is none.
        """
        image = self._images.get(identifier)
        if image is None:
            raise Refusal(404, "no such image")
        return image

    def describe(self, image: ServedImage) -> Description:
        """Return the size of an image.

        Raises:
            OSError, InputError: it cannot be read.
        """
        key = _state(image.path)
        found = self._descriptions.get(key)
        if found is None:
            found = _describe(image.path)
            with self._lock:
                if len(self._descriptions) > 100_000:
                    self._descriptions.clear()
                self._descriptions[key] = found
        return found

    def state(self, image: ServedImage) -> tuple:
        """Return what changes when the file of an image does: path, size and time.

        Raises:
            Refusal: it is gone.
        """
        return _state(image.path)

    def open(self, image: ServedImage) -> Pixels:
        """Return the pixels of an image: decoded if it is small, else in windows.

        Raises:
            OSError, InputError: it cannot be read.
            Refusal: it is too large to be decoded whole and of a format that is not read in windows.
        """
        key = _state(image.path)
        kept: Pixels | None = self._rasters.get(key) or self.decoded.get(key)
        if kept is None:
            with self._decoding:  # one at a time: the tiles of an image are asked for together
                kept = self._rasters.get(key) or self.decoded.get(key) or self._open(image, key)
        return kept

    def _open(self, image: ServedImage, key: tuple) -> Pixels:
        described = self.describe(image)
        is_small = described.width * described.height <= self._limits.pixels
        is_raster = has_rasters() and (image.path.suffix.lower() in _RASTERS or not is_small)
        if is_raster:
            raster = self._raster(image.path, key)
            if not is_small and raster.size == (described.height, described.width):
                return raster
            if not is_small:  # turned by its EXIF data, which GDAL ignores
                self._rasters.pop(key, None)
                check_pixels(described.width, described.height, self._limits.pixels)
            height, width = raster.size
            array = raster.read((0, 0, width, height))
        else:
            check_pixels(described.width, described.height, self._limits.pixels)
            array = read_image(image.path)
        pixels = ArrayPixels(array, key)
        self.decoded.put(key, pixels, array.nbytes)
        return pixels

    def georeference(self, image: ServedImage) -> tuple[Any, Any]:
        """Return the affine transform from pixels to the ground, and its CRS; None where there is none."""
        if not self.describe(image).georeferenced:
            return None, None
        raster = self._raster(image.path, _state(image.path)).raster
        return raster.transform, raster.crs

    def _raster(self, path: Path, key: tuple) -> RasterPixels:
        from insight.geo.raster import Raster

        pixels = RasterPixels(Raster(path), key)
        if pixels.size[0] * pixels.size[1] > self._limits.pixels:
            with self._lock:
                self._rasters[key] = pixels
                while len(self._rasters) > _OPEN_RASTERS:
                    self._rasters.popitem(last=False)
        return pixels


def image_id(name: str) -> str:
    """Return the id of an image by its name."""
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:16]


def has_rasters() -> bool:
    """Return whether the extra `geo` is installed."""
    try:
        import insight.geo.raster  # noqa: F401
    except ImportError:
        return False
    return True


def tile_window(described: Description, z: int, x: int, y: int) -> tuple[tuple[int, int, int, int], tuple[int, int]]:
    """Return what a tile shows.

    Args:
        described: the image.
        z: level; at 0 one tile has the whole image, at `max_zoom` a pixel is a pixel.
        x, y: column and row of the tile.

    Returns:
        The window (x0, y0, x1, y1) in pixels of the image, and the (height, width) that it fills of the tile, from the
        upper left corner.

    Raises:
        Refusal: there is no such tile.
    """
    if not 0 <= z <= described.max_zoom:
        raise Refusal(404, f"no such tile: expected a level from 0 to {described.max_zoom}")
    scale = 2 ** (described.max_zoom - z)
    x0, y0 = x * TILE * scale, y * TILE * scale
    if not (0 <= x0 < described.width and 0 <= y0 < described.height):
        raise Refusal(404, "no such tile: it lies outside the image")
    x1, y1 = min(x0 + TILE * scale, described.width), min(y0 + TILE * scale, described.height)
    return (x0, y0, x1, y1), (max(1, round((y1 - y0) / scale)), max(1, round((x1 - x0) / scale)))


def _state(path: Path) -> tuple:
    try:
        state = path.stat()
    except OSError as error:
        raise Refusal(404, "the image is no longer there") from error
    return os.fspath(path), state.st_size, state.st_mtime_ns


def _describe(path: Path) -> Description:
    if path.suffix.lower() in _RASTERS and has_rasters():
        import warnings

        import rasterio
        from rasterio.errors import NotGeoreferencedWarning, RasterioError

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                with rasterio.open(path) as file:
                    has_transform = not file.transform.is_identity
                    if has_transform or not file.gcps[0]:
                        return Description(file.width, file.height, has_transform or file.crs is not None)
        except RasterioError as error:
            raise OSError(f"cannot read raster {path}") from error
        from insight.geo.raster import Raster

        raster = Raster(path)  # warped by its ground control points
        return Description(raster.width, raster.height, raster.is_georeferenced)
    height, width = image_size(path)
    return Description(width, height, False)
