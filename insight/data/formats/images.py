"""Read and write image files. Needs no Detectron2."""

import contextlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, PngImagePlugin, TiffImagePlugin, UnidentifiedImageError

from insight.errors import InputError
from insight.runtime.atomic_files import atomic_write

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_ORIENTATION = 0x0112  # EXIF's tag
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# TIFF's tags ImageWidth, BitsPerSample, SamplesPerPixel, SampleFormat.
_TIFF_WIDTH, _TIFF_BITS, _TIFF_BANDS, _TIFF_FORMAT = 256, 258, 277, 339
_TIFF_FORMATS = {1: "unsigned", 2: "signed", 3: "floating-point", 5: "complex integer", 6: "complex"}
_CONVERTED = ("1", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV")
_TAKEN = ("L", "LA", "RGB", "RGBA", "RGBX")
_PNG_TEXT = 2**26  # bytes of text or colour profile that a PNG may hold; Pillow refuses more than 1 MiB
_HINT = "choose three bands and stretch them to 8 bits first"


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Read an image file.

    Grey images become three equal bands, alpha is dropped, palettes are looked up, and EXIF or TIFF orientations are
    applied (values other than 1 to 8 are ignored).

    Args:
        path: the file.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        OSError: the file is missing, truncated, of an unknown format or too large for the memory.
        InputError: the pixels are not unsigned 8-bit, or the bands are not grey, colour and alpha.
    """
    path = Path(path)
    with open_image(path) as image:
        _require_8_bits(image, path)
        image.load()
        transposition = _transposition(image)
        if transposition is not None:
            image = image.transpose(transposition)
        return as_rgb(np.asarray(image.convert("RGB") if image.mode in _CONVERTED else image), name=str(path))


def image_size(path: str | os.PathLike) -> tuple[int, int]:
    """Return the size of an image file after its orientation is applied, without decoding the pixels.

    Args:
        path: the file.

    Returns:
        (height, width).

    Raises:
        OSError: the file is missing or of an unknown format.
        InputError: the file is a TIFF that `read_image` does not support.
    """
    with open_image(path) as image:
        width, height = image.size
        swapped = _transposition(image) in (Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_270,
                                   Image.Transpose.TRANSVERSE, Image.Transpose.ROTATE_90)  # fmt: skip
        return (width, height) if swapped else (height, width)


def encode_png(image: np.ndarray) -> bytes:
    """Encode an image as PNG.

    Args:
        image: uint8, (H, W, 3) RGB or (H, W) grey.

    Returns:
        The bytes of the PNG file.
    """
    return cv2.imencode(".png", image if image.ndim == 2 else image[:, :, ::-1])[1].tobytes()


def write_png(path: str | os.PathLike, image: np.ndarray) -> None:
    """Write an image as PNG, atomically.

    Args:
        path: the file; its folder is made if needed.
        image: uint8, (H, W, 3) RGB or (H, W) grey.

    Raises:
        OSError: the file cannot be written.
    """
    with atomic_write(path, "wb") as file:
        file.write(encode_png(image))


def as_rgb(image: np.ndarray, name: str = "image") -> np.ndarray:
    """Convert an array to three bands of 8 bits.

    Args:
        image: uint8 (H, W), (H, W, 1), (H, W, 2) grey and alpha, (H, W, 3), or (H, W, 4) colour and alpha.
        name: name of the image in errors.

    Returns:
        (H, W, 3) uint8, in the given order of bands.

    Raises:
        InputError: an unsupported shape or dtype, or no pixels.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 2, 3, 4)):
        raise InputError(
            f"{name}: expected uint8 of shape (H, W), (H, W, 3) or (H, W, 4), got {image.dtype} {image.shape}; {_HINT}"
        )
    if image.size == 0:
        raise InputError(f"{name}: has no pixels, its shape is {image.shape}")
    if image.ndim == 2:
        image = image[:, :, None]
    if image.shape[2] <= 2:
        return np.repeat(image[:, :, :1], 3, axis=2)
    return image[:, :, :3]


def _transposition(image: Image.Image) -> Image.Transpose | None:
    """How an opened file's pixels must be transposed, by its EXIF orientation. Pillow does it itself for a TIFF."""
    if image.format == "TIFF":
        return None
    try:
        return _TRANSPOSITIONS.get(image.getexif().get(_ORIENTATION))
    except (OSError, SyntaxError, TypeError, ValueError, KeyError, struct.error):  # malformed EXIF
        return None


@contextlib.contextmanager
def open_image(path: str | os.PathLike, kind: str = "image") -> Iterator[Image.Image]:
    """Open an image file, and turn whatever Pillow raises of it into one line.

    Args:
        path: the file.
        kind: what it is, for errors.

    Yields:
        Pillow's image, whose pixels are not read yet.

    Raises:
        OSError: the file is missing, truncated, of an unknown format or too large for the memory.
        InputError: it is a TIFF of a kind that `read_image` refuses.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such {kind}: {path}")
    try:
        with _pillow_limits_raised(), Image.open(path) as image:
            yield image
    except InputError:
        raise
    except MemoryError as error:
        raise OSError(f"cannot read {kind} {path}: not enough memory for its pixels; cut it into tiles") from error
    except (OSError, SyntaxError, ValueError, struct.error) as error:  # SyntaxError: a broken PNG
        if isinstance(error, UnidentifiedImageError):
            _refuse_unusual_tiff(path)
        raise OSError(
            f"cannot read {kind} {path}: it is truncated, corrupt or of an unknown format ({error})"
        ) from error


@contextlib.contextmanager
def _pillow_limits_raised() -> Iterator[None]:
    """Lift Pillow's limit on pixels, which satellite scenes exceed, and raise that on text and profiles in PNG."""
    limits = Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY
    Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY = None, _PNG_TEXT, _PNG_TEXT
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS, PngImagePlugin.MAX_TEXT_CHUNK, PngImagePlugin.MAX_TEXT_MEMORY = limits


def _require_8_bits(image: Image.Image, path: Path) -> None:
    """Refuse what Pillow would open as if it were unsigned 8-bit: colour of 16 bits, signed bytes."""
    if image.format == "TIFF":
        bits, bands, kind = _tiff_pixels(image.tag_v2)
        if kind != "unsigned" or bits > 8:
            raise _refused(path, f"{bits}-bit {kind}, {bands} band{'s' * (bands > 1)}")
    elif image.format == "PNG":
        with open(path, "rb") as file:
            bits = file.read(25)[24]  # of its header
        if bits > 8:
            raise _refused(path, f"{bits}-bit unsigned")
    if image.mode not in _CONVERTED + _TAKEN:
        raise _refused(path, f"of Pillow's mode {image.mode}")


def _refuse_unusual_tiff(path: Path) -> None:
    """Raise if a file is a sound TIFF that Pillow does not open for its bands or its kind of pixels."""
    try:
        with open(path, "rb") as file:
            start = file.read(8)
            header = start + file.read(8) if start[2:3] == b"\x2b" else start  # BigTIFF
            tags = TiffImagePlugin.ImageFileDirectory_v2(header)
            file.seek(tags.next)
            tags.load(file)
        if _TIFF_WIDTH not in tags:
            return  # truncated
        bits, bands, kind = _tiff_pixels(tags)
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error):
        return  # no TIFF
    raise _refused(path, f"{bits}-bit {kind}, {bands} band{'s' * (bands > 1)}")


def _tiff_pixels(tags: TiffImagePlugin.ImageFileDirectory_v2) -> tuple[int, int, str]:
    """Bits a band, bands, and the kind of numbers."""
    bits, bands = tags.get(_TIFF_BITS, (1,)), tags.get(_TIFF_BANDS, 1)
    kinds = tags.get(_TIFF_FORMAT, (1,))
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    odd = next((kind for kind in kinds if kind not in (1, 4)), 1)  # 4 is undefined, which is read as unsigned
    return max(bits if isinstance(bits, tuple) else (bits,)), int(bands), _TIFF_FORMATS.get(odd, f"kind {odd}")


def _refused(path: Path, pixels: str) -> InputError:
    return InputError(
        f"{path}: its pixels are {pixels}; expected 8-bit unsigned in 1 band (grey), 3 (RGB) or 4 (RGB and alpha); "
        f"{_HINT}; rasters, read for a vector file as output, are stretched"
    )
