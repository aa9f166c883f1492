"""Images as people have them: colour, grey, with alpha, as a file or an array."""

import contextlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
_ORIENTATION = 0x0112  # EXIF's tag; 5 to 8 swap height and width
_HINT = "choose three bands and stretch them to 8 bits first"


def read_image(path: str | os.PathLike) -> np.ndarray:
    """Read an image file.

    Grey becomes three equal bands, alpha is dropped, a palette is looked up, an EXIF rotation is applied.

    Args:
        path: the file.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        OSError: it is missing, truncated or of an unknown format.
        ValueError: its pixels are not 8 bits a band, or it has other bands than grey, colour and alpha.
    """
    path = Path(path)
    with _opened(path) as image:
        image = ImageOps.exif_transpose(image)
        image.load()
    if image.mode in ("1", "P", "PA", "CMYK", "YCbCr", "LAB", "HSV"):
        image = image.convert("RGB")
    elif image.mode not in ("L", "LA", "RGB", "RGBA", "RGBX"):
        raise ValueError(f"{path}: its pixels are {image.mode}, expected 8 bits a band; {_HINT}")
    return as_rgb(np.asarray(image), name=str(path))


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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # aerial images are large
            with Image.open(path) as image:
                yield image
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # SyntaxError: a broken PNG
        raise OSError(
            f"cannot read image {path}: it is truncated, corrupt or of an unknown format ({error})"
        ) from error


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
