"""Processing: find objects."""

from __future__ import annotations

import math

from qgis.core import (
    QgsFeature,
    QgsFeatureSink,
    QgsProcessing,
    QgsProcessingException,
    QgsProcessingParameterExtent,
    QgsProcessingParameterFeatureSink,
    QgsWkbTypes,
)

from .algorithm import OUTPUT, InsightAlgorithm
from .client import Cancelled, ServerError
from .columns import Rows, result_fields
from .geometry import bounds, to_pixels
from .prediction import objects_of
from .server import chosen_server

EXTENT = "EXTENT"
_EDGE = 1e-3  # of a pixel, by which an extent may miss the edges of pixels


class FindObjects(InsightAlgorithm):
    """Find the objects of a raster by the server's detector."""

    def name(self):
        """Return the algorithm's id."""
        return "find_objects"

    def displayName(self):  # noqa: N802
        """Return what users read."""
        return "Find objects"

    def shortHelpString(self):  # noqa: N802
        """Return the help."""
        return (
            "Finds objects with the detector of an insight server, in the whole raster or in an extent, by tiles of "
            "2,048 pixels. Objects of more than 512 pixels may be cut where tiles meet; for those, use the command "
            "`insight predict scene.tif --output found.gpkg`.\n\n"
            "The polygons are in the raster's CRS, with classes, scores, and area and lengths in metres on the ground."
        )

    def initAlgorithm(self, configuration=None):  # noqa: N802
        """Define the parameters."""
        self.add_raster()
        self.addParameter(QgsProcessingParameterExtent(EXTENT, "Extent (empty: the raster's)", optional=True))
        self.add_options()
        self.addParameter(QgsProcessingParameterFeatureSink(OUTPUT, "Objects", QgsProcessing.TypeVectorPolygon))

    def processAlgorithm(self, parameters, context, feedback):  # noqa: N802
        """Ask the server, and write the polygons."""
        fields, crs = result_fields(), self.raster.crs
        sink, output = self.parameterAsSink(parameters, OUTPUT, context, fields, QgsWkbTypes.MultiPolygon, crs)
        if sink is None:
            raise QgsProcessingException(self.invalidSinkError(parameters, OUTPUT))
        try:
            found = list(
                objects_of(
                    self.raster,
                    chosen_server(feedback.isCanceled),
                    self._window(parameters, context),
                    progress=lambda done, total: feedback.setProgress(100 * done / total),
                    **self.options(parameters, context),
                )
            )
        except Cancelled:
            return {OUTPUT: output}
        except ServerError as error:
            raise QgsProcessingException(str(error)) from error
        rows = Rows(crs, context.transformContext())
        classes = sorted({class_name for _, class_name, _ in found})
        for of_map, class_name, score in found:
            geometry, attributes = rows.add(of_map, classes.index(class_name), class_name, score)
            written = QgsFeature(fields)
            written.setGeometry(geometry)
            written.setAttributes(attributes)
            sink.addFeature(written, QgsFeatureSink.FastInsert)
        feedback.pushInfo(f"found {len(found)} objects")
        return {OUTPUT: output}

    def _window(self, parameters, context):
        height, width = self.raster.size
        if not parameters.get(EXTENT):
            return 0, 0, width, height
        extent = self.parameterAsExtent(parameters, EXTENT, context, self.raster.crs)
        low, high = (extent.xMinimum(), extent.yMinimum()), (extent.xMaximum(), extent.yMaximum())
        around = [low, (high[0], low[1]), high, (low[0], high[1])]
        x0, y0, x1, y1 = bounds(to_pixels(self.raster.geotransform, around))
        low, high = (math.floor(x0 + _EDGE), math.floor(y0 + _EDGE)), (math.ceil(x1 - _EDGE), math.ceil(y1 - _EDGE))
        window = max(0, low[0]), max(0, low[1]), min(width, high[0]), min(height, high[1])
        if window[0] >= window[2] or window[1] >= window[3]:
            raise QgsProcessingException("Extent: lies outside the raster")
        return window
