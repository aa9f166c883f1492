"""Pixels of the images that are annotated: pictures, and rasters of any bands and depth."""

from pathlib import Path

import numpy as np

from insight.data.formats.images import read_image
from insight.errors import InputError, MissingDependencyError

_RASTERS = (".tif", ".tiff", ".jp2", ".vrt")


def read_pixels(path: Path) -> np.ndarray:
    """Read an image, or a raster whose bands are stretched to 8 bits, once for the whole raster.

    Args:
        path: an image file, or a raster as `insight.geo.raster.Raster` reads it.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        OSError: the file is missing, truncated, of an unknown format or too large for the memory.
        InputError: pixels of another kind than 8 bits, and the extra `geo` is not installed; a raster without data, or
            one with ground control points in place of a transform.
    """
    if path.suffix.lower() not in _RASTERS:
        return read_image(path)
    try:
        return read_image(path)
    except (InputError, OSError) as error:
        if not path.is_file():
            raise
        try:
            from insight.geo.raster import Raster
        except MissingDependencyError:
            raise error from None
    raster = Raster(path)
    if raster.is_warped:
        raise InputError(f"{path}: boxes in its pixels have no place once its ground control points warp it; warp it "
                         "first (gdalwarp), and draw the boxes on that")  # fmt: skip
    return raster.read((0, 0, raster.width, raster.height))
