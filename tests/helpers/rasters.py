"""Rasters for tests."""

import rasterio
from affine import Affine

ROTATED = Affine(0.5, 0.1, 500000, 0.1, -0.5, 4900000)


def write(path, image, crs="EPSG:32632", transform=ROTATED, **options):
    bands = image[None] if image.ndim == 2 else image.transpose(2, 0, 1)
    profile = {"driver": "GTiff", "count": len(bands), "height": bands.shape[1], "width": bands.shape[2]}
    with rasterio.open(path, "w", **profile, dtype=bands.dtype, crs=crs, transform=transform, **options) as file:
        file.write(bands)
    return path
