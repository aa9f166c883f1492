"""Images as people have them: colour, grey, with alpha, as a file or an array."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_ORIENTATION = 0x0112  # EXIF's tag; 5 to 8 swap height and width
_BITS_PER_SAMPLE = 258  # TIFF's tag
_CONVERTED = ("1", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV")
_TAKEN = ("L", "LA", "RGB", "RGBA", "RGBX")
_HINT = "choose three bands and stretch them to 8 bits first"


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Read an image file.

    Grey becomes three equal bands, alpha is dropped, a palette is looked up, an EXIF rotation is applied.

    Args:
        path: the file.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        OSError: it is missing, truncated, of an unknown format or too large for the memory.
        ValueError: its pixels are not 8 bits a band, or it has other bands than grey, colour and alpha.
    """
    path = Path(path)
    with _opened(path) as image:
        bits = _bits_a_band(image, path)
        if bits > 8 or image.mode not in _CONVERTED + _TAKEN:
            pixels = f"{image.mode} of {bits} bits" if image.mode in _TAKEN else image.mode
            raise ValueError(f"{path}: its pixels are {pixels}, expected 8 bits a band; {_HINT}")
        image = ImageOps.exif_transpose(image)
        image.load()
        return as_rgb(np.asarray(image.convert("RGB") if image.mode in _CONVERTED else image), name=str(path))


def image_size(path: str | os.PathLike) -> tuple[int, int]:
    """The size of an image file as `read_image` gives it, without decoding the pixels.

    Args:
        path: the file.

    Returns:
        (height, width).

    Raises:
        OSError: it is missing or of an unknown format.
    """
    with _opened(Path(path)) as image:
        turned = image.getexif().get(_ORIENTATION, 1) >= 5
        return image.size if turned else image.size[::-1]


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    if not path.is_file():
        raise FileNotFoundError(f"no such image: {path}")
    try:
        with _of_any_size(), Image.open(path) as image:
            yield image
    except MemoryError as error:
        raise OSError(f"cannot read image {path}: not enough memory for its pixels; cut it into tiles") from error
    except (OSError, SyntaxError) as error:  # SyntaxError: a broken PNG
        raise OSError(
            f"cannot read image {path}: it is truncated, corrupt or of an unknown format ({error})"
        ) from error


@contextlib.contextmanager
def _of_any_size() -> Iterator[None]:
    """Without Pillow's limit of pixels, which whole satellite scenes are beyond."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _bits_a_band(image: Image.Image, path: Path) -> int:
    """What the file says: Pillow opens colour of 16 bits as if it had 8."""
    if image.format == "TIFF":
        return max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,)))
    if image.format == "PNG":
        with open(path, "rb") as file:
            return file.read(25)[24]  # of its header
    return 8


def as_rgb(image: np.ndarray, name: str = "image") -> np.ndarray:
    """Bring an array to three bands of 8 bits.

    Args:
        image: uint8 (H, W), (H, W, 1), (H, W, 2) grey and alpha, (H, W, 3), or (H, W, 4) colour and alpha.
        name: what to call it in an error.

    Returns:
        (H, W, 3) uint8, the bands in the order they came in.

    Raises:
        ValueError: another shape or type, or no pixels.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 2, 3, 4)):
        raise ValueError(
            f"{name}: expected uint8 of shape (H, W), (H, W, 3) or (H, W, 4), got {image.dtype} {image.shape}; {_HINT}"
        )
    if image.size == 0:
        raise ValueError(f"{name}: has no pixels, its shape is {image.shape}")
    if image.ndim == 2:
        image = image[:, :, None]
    if image.shape[2] <= 2:
        return np.repeat(image[:, :, :1], 3, axis=2)
    return image[:, :, :3]
