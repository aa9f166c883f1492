"""Pixels of images, whole in memory or read in windows, by a key of their content."""

import hashlib
import io
import threading
from collections.abc import Hashable
from typing import Any, Protocol

import numpy as np
from PIL import Image, UnidentifiedImageError

from insight.errors import InsightError
from insight.inference.image_input import to_rgb

from .refusal import Refusal

Window = tuple[int, int, int, int]
_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP")


class Pixels(Protocol):
    """An image.

    Attributes:
        key: identifies the content.
        size: (height, width).
    """

    key: Hashable
    size: tuple[int, int]

    def read(self, window: Window, size: tuple[int, int] | None = None) -> np.ndarray:
        """Return the pixels (h, w, 3) uint8 RGB of a window (x0, y0, x1, y1) in the image, reduced to (h, w)."""


class ArrayPixels:
    """An image in memory.

    Args:
        array: (H, W, 3) uint8 RGB.
        key: identifies the content.
    """

    def __init__(self, array: np.ndarray, key: Hashable):
        self.array, self.key = array, key
        self.size: tuple[int, int] = (array.shape[0], array.shape[1])

    def read(self, window: Window, size: tuple[int, int] | None = None) -> np.ndarray:
        x0, y0, x1, y1 = window
        part = self.array[y0:y1, x0:x1]
        if size is None or size == part.shape[:2]:
            return part
        picture = Image.fromarray(np.ascontiguousarray(part))
        return np.asarray(picture.resize((size[1], size[0]), Image.Resampling.BILINEAR, reducing_gap=2.0))


class RasterPixels:
    """A raster that is read in windows. One thread reads at a time.

    Args:
        raster: an `insight.geo.raster.Raster`.
        key: identifies the content.
    """

    def __init__(self, raster: Any, key: Hashable):
        self.raster, self.key = raster, key
        self.size: tuple[int, int] = raster.size
        self._lock = threading.Lock()

    def read(self, window: Window, size: tuple[int, int] | None = None) -> np.ndarray:
        with self._lock:
            return self.raster.read(window, size)


def content_key(data: bytes) -> str:
    """Return the key of an uploaded file."""
    return hashlib.sha256(data).hexdigest()


def decode(data: bytes, most_pixels: int, key: Hashable | None = None) -> ArrayPixels:
    """Decode an uploaded image file: PNG, JPEG, TIFF, WebP or BMP, with its EXIF orientation applied.

    Args:
        data: the file.
        most_pixels: bound on width times height, checked before a pixel is decoded.
        key: as `content_key` returns it; None computes it.

    Raises:
        Refusal: it is too large, damaged or of another format.
        InputError: it has more than 8 bits a band.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            check_pixels(image.width, image.height, most_pixels)
            return ArrayPixels(to_rgb(image), key or content_key(data))
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        if isinstance(error, Image.DecompressionBombError):
            raise Refusal(413, "the image has too many pixels") from error
        raise Refusal(422, f"the image is damaged or of an unknown format; expected {', '.join(_FORMATS)}") from error
    except Refusal:
        raise
    except (OSError, SyntaxError, TypeError, EOFError, OverflowError) as error:  # of a damaged file, as Pillow has it
        raise Refusal(422, "the image is truncated or damaged") from error
    except ValueError as error:
        if isinstance(error, InsightError):
            raise
        raise Refusal(422, "the image is truncated or damaged") from error


def check_pixels(width: int, height: int, most: int) -> None:
    """Refuse an image of too many pixels."""
    if width * height > most:
        raise Refusal(413, f"the image has {width} x {height} pixels; expected at most {most:,}")
