"""Windows of a raster layer as pictures, with the bands and the contrast that the layer is shown with."""

from __future__ import annotations

import uuid

from osgeo import gdal
from qgis.core import Qgis, QgsContrastEnhancement, QgsRasterLayer, QgsRectangle

from .client import ServerError
from .geometry import Window

_SAMPLE = 250_000  # pixels, as QGIS takes for its own contrast
_LONGEST_SIDE = 4096  # pixels: larger windows are reduced, as around a single object of that size


class Raster:
    """A raster layer that GDAL reads.

    Args:
        layer: the layer. It is read here, so that windows can be cut in another thread.

    Attributes:
        size: (height, width) in pixels.
        geotransform: from pixels to the map.
        crs: of the layer.
    """

    def __init__(self, layer: QgsRasterLayer):
        self.name, self.crs = layer.name(), layer.crs()
        if layer.providerType() != "gdal":
            raise ServerError(f"{self.name}: expected a raster file, got a layer of type {layer.providerType()}")
        self._data = gdal.Open(layer.source().partition("|")[0])
        transform = None if self._data is None else self._data.GetGeoTransform(can_return_null=True)
        if transform is None:
            raise ServerError(f"{self.name}: expected a georeferenced raster that GDAL reads; warp it first")
        self.geotransform = transform
        self.size = (self._data.RasterYSize, self._data.RasterXSize)
        self._bands, self._ranges = _shown(layer)

    def picture(self, window: Window) -> tuple[bytes, float]:
        """Cut out a window.

        Args:
            window: in pixels, inside the raster.

        Returns:
            A PNG, and its pixels per pixel of the raster, along a side: below 1 for a very large window.
        """
        x0, y0, x1, y1 = window
        width, height = x1 - x0, y1 - y0
        scale = min(1.0, _LONGEST_SIDE / max(width, height))
        name = f"/vsimem/{uuid.uuid4().hex}.png"
        written = gdal.Translate(
            name,
            self._data,
            format="PNG",
            outputType=gdal.GDT_Byte,
            srcWin=[x0, y0, width, height],
            width=max(1, round(width * scale)),
            height=max(1, round(height * scale)),
            resampleAlg="average",
            bandList=self._bands,
            scaleParams=[[low, high, 0, 255] for low, high in self._ranges] if self._ranges else None,
            noData="none",
            maskBand="none",
            creationOptions=["ZLEVEL=1"],
        )
        if written is None:
            raise ServerError(f"{self.name}: cannot be read at pixels {window} ({gdal.GetLastErrorMsg()})")
        del written
        try:
            file = gdal.VSIFOpenL(name, "rb")
            data = gdal.VSIFReadL(1, gdal.VSIStatL(name).size, file)
            gdal.VSIFCloseL(file)
        finally:
            for path in (name, f"{name}.aux.xml"):
                if gdal.VSIStatL(path) is not None:
                    gdal.Unlink(path)
        return bytes(data), scale


def _shown(layer: QgsRasterLayer) -> tuple[list[int], list[tuple[float, float]] | None]:
    """Three bands, and the values of each that are black and white; None for bytes as they are."""
    renderer, provider = layer.renderer(), layer.dataProvider()
    kind = renderer.type() if renderer is not None else ""
    if kind == "multibandcolor":
        bands = [renderer.redBand(), renderer.greenBand(), renderer.blueBand()]
        enhancements = [
            renderer.redContrastEnhancement(),
            renderer.greenContrastEnhancement(),
            renderer.blueContrastEnhancement(),
        ]
        first = next((band for band in bands if band > 0), 1)
        bands = [band if band > 0 else first for band in bands]
    elif kind == "singlebandgray":
        bands, enhancements = [renderer.grayBand()] * 3, [renderer.contrastEnhancement()] * 3
    else:  # colours of classes or of a ramp say nothing to a model
        bands, enhancements = [1, 2, 3] if layer.bandCount() > 2 else [1] * 3, [None] * 3
    ranges = [_range(provider, band, enhancement) for band, enhancement in zip(bands, enhancements)]
    return bands, None if all(one is None for one in ranges) else [one or (0.0, 255.0) for one in ranges]


def _range(provider, band: int, enhancement) -> tuple[float, float] | None:
    stretched = enhancement is not None and (
        enhancement.contrastEnhancementAlgorithm() != QgsContrastEnhancement.NoEnhancement
    )
    if stretched and enhancement.maximumValue() > enhancement.minimumValue():
        return enhancement.minimumValue(), enhancement.maximumValue()
    if provider.sourceDataType(band) == Qgis.DataType.Byte:
        return None
    low, high = provider.cumulativeCut(band, 0.02, 0.98, QgsRectangle(), _SAMPLE)
    return (low, high) if high > low else (low, low + 1.0)
