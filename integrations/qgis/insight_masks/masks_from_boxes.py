"""Processing: masks from boxes."""

from __future__ import annotations

from qgis.core import (
    QgsCoordinateTransform,
    QgsCsException,
    QgsFeature,
    QgsFeatureSink,
    QgsProcessing,
    QgsProcessingException,
    QgsProcessingParameterFeatureSink,
    QgsProcessingParameterFeatureSource,
    QgsWkbTypes,
)

from .algorithm import OUTPUT, InsightAlgorithm
from .client import Cancelled, ServerError
from .columns import Rows, result_fields
from .geometry import bounds, box_corners, convex_hull, is_aligned, signed_area, to_pixels
from .prediction import masks_of_boxes
from .server import chosen_server

BOXES = "BOXES"


class MasksFromBoxes(InsightAlgorithm):
    """Turn boxes on a raster into the polygons of their objects."""

    def name(self):
        """Return the algorithm's id."""
        return "masks_from_boxes"

    def displayName(self):  # noqa: N802
        """Return what users read."""
        return "Masks from boxes"

    def shortHelpString(self):  # noqa: N802
        """Return the help."""
        return (
            "Turns boxes into the polygons of the objects in them, with an insight server (Settings > Options > "
            "Processing > Providers > Insight).\n\n"
            "A box is a polygon of four corners, at any angle; around other polygons, the smallest rectangle is taken. "
            "If all boxes are horizontal, on their map or in the raster, the model gets horizontal boxes, else "
            "oriented ones.\n\n"
            "The server sees the bands and the contrast that the raster layer is shown with, at its own resolution. "
            "The polygons are in the raster's CRS, one row for each box, with the attributes of the box, and area and "
            "lengths in metres on the ground."
        )

    def initAlgorithm(self, configuration=None):  # noqa: N802
        """Define the parameters."""
        self.add_raster()
        self.addParameter(QgsProcessingParameterFeatureSource(BOXES, "Boxes", [QgsProcessing.TypeVectorPolygon]))
        self.add_options()
        self.addParameter(QgsProcessingParameterFeatureSink(OUTPUT, "Masks", QgsProcessing.TypeVectorPolygon))

    def processAlgorithm(self, parameters, context, feedback):  # noqa: N802
        """Ask the server, and write the polygons."""
        source = self.parameterAsSource(parameters, BOXES, context)
        if source is None:
            raise QgsProcessingException(self.invalidSourceError(parameters, BOXES))
        carried = source.fields()
        kept = [i for i in range(carried.count()) if carried.at(i).name().lower() != "fid"]
        for i in reversed([i for i in range(carried.count()) if i not in kept]):
            carried.remove(i)
        features, boxes, oriented = self._boxes(source, context, feedback)
        fields = result_fields(carried)
        crs = self.raster.crs
        sink, output = self.parameterAsSink(parameters, OUTPUT, context, fields, QgsWkbTypes.MultiPolygon, crs)
        if sink is None:
            raise QgsProcessingException(self.invalidSinkError(parameters, OUTPUT))
        try:
            found = masks_of_boxes(
                self.raster,
                chosen_server(feedback.isCanceled),
                boxes,
                oriented=oriented,
                progress=lambda done, total: feedback.setProgress(100 * done / total),
                **self.options(parameters, context),
            )
        except Cancelled:
            return {OUTPUT: output}
        except ServerError as error:
            raise QgsProcessingException(str(error)) from error
        rows = Rows(crs, context.transformContext())
        empty = 0
        for feature, (of_map, score) in zip(features, found):
            geometry, attributes = rows.add(of_map, 0, "object", score)
            empty += not of_map
            written = QgsFeature(fields)
            written.setGeometry(geometry)
            written.setAttributes([*attributes, *(feature.attributes()[i] for i in kept)])
            sink.addFeature(written, QgsFeatureSink.FastInsert)
        if empty:
            feedback.pushWarning(f"{empty} of {len(boxes)} boxes got no mask; their rows have no geometry")
        return {OUTPUT: output}

    def _boxes(self, source, context, feedback):
        """The features of boxes on the raster, their corners in its pixels, and whether they are oriented."""
        to_raster = QgsCoordinateTransform(source.sourceCrs(), self.raster.crs, context.transformContext())
        features, boxes, horizontal, left_out = [], [], True, 0
        height, width = self.raster.size
        for feature in source.getFeatures():
            own = _outline(feature)
            try:
                on_raster = [to_raster.transform(point) for point in own]
            except QgsCsException:
                on_raster = []
            pixels = to_pixels(self.raster.geotransform, [(point.x(), point.y()) for point in on_raster])
            if len(pixels) < 3 or not abs(signed_area(pixels)) > 0:
                left_out += 1
                continue
            x0, y0, x1, y1 = bounds(pixels)
            if not (x1 > 0 and y1 > 0 and x0 < width and y0 < height):
                left_out += 1
                continue
            aligned = is_aligned([(point.x(), point.y()) for point in own]) or is_aligned(pixels)
            horizontal = horizontal and aligned
            features.append(feature)
            boxes.append(pixels)
        if left_out:
            feedback.pushWarning(
                f"left out {left_out} {'box' if left_out == 1 else 'boxes'} without area or outside the raster"
            )
        return features, boxes if horizontal else [box_corners(pixels) for pixels in boxes], not horizontal


def _outline(feature) -> list:
    """Its outline; around several parts, their convex hull."""
    geometry = feature.geometry()
    if geometry.isNull() or geometry.isEmpty():
        return []
    polygons = geometry.asMultiPolygon() if geometry.isMultipart() else [geometry.asPolygon()]
    if len(polygons) == 1 and polygons[0]:
        return polygons[0][0][:-1]
    points = {(point.x(), point.y()): point for polygon in polygons for ring in polygon for point in ring}
    return [points[corner] for corner in convex_hull(list(points))]
