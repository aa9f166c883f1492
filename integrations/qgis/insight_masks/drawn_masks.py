"""Boxes that are drawn on the map, and their masks, in two scratch layers."""

from __future__ import annotations

from qgis.core import (
    Qgis,
    QgsCoordinateTransform,
    QgsCsException,
    QgsFeature,
    QgsField,
    QgsFields,
    QgsFillSymbol,
    QgsGeometry,
    QgsMessageLog,
    QgsProject,
    QgsRasterLayer,
    QgsTask,
    QgsVectorLayer,
)

from .client import Cancelled, ServerError
from .columns import Rows, result_fields
from .geometry import bounds, box_corners, is_aligned, signed_area, to_pixels
from .prediction import masks_of_boxes
from .raster import Raster
from .server import chosen_server

BOXES, MASKS = "Drawn boxes", "Masks of drawn boxes"
_STYLES = {
    BOXES: {"style": "no", "outline_color": "#ffb300", "outline_width": "0.5"},
    MASKS: {"color": "38,166,154,110", "outline_color": "#00695c", "outline_width": "0.4"},
}
_RASTER = "insight_raster"  # property of a layer: id of the raster that it belongs to


class MaskTask(QgsTask):
    """Ask for the mask of one box, in the background.

    Args:
        layer: the raster layer.
        geometry: the box, in the CRS of the layer.
        done: called in the main thread with parts on the map and a score, or with None and a sentence.
    """

    def __init__(self, layer: QgsRasterLayer, geometry: QgsGeometry, done):
        super().__init__("Mask of a box", QgsTask.CanCancel)
        self._raster, self._done, self._found, self._error = Raster(layer), done, None, ""
        ring = [(point.x(), point.y()) for point in geometry.asPolygon()[0][:-1]]
        self._corners = to_pixels(self._raster.geotransform, ring)
        height, width = self._raster.size
        x0, y0, x1, y1 = bounds(self._corners)
        if not (abs(signed_area(self._corners)) > 0 and x1 > 0 and y1 > 0 and x0 < width and y0 < height):
            raise ServerError(f"The box lies outside the raster {self._raster.name}")

    def run(self):
        """Ask the server."""
        try:
            oriented = not is_aligned(self._corners)
            corners = box_corners(self._corners) if oriented else self._corners
            client = chosen_server(self.isCanceled)
            self._found = masks_of_boxes(self._raster, client, [corners], oriented=oriented)[0]
        except Cancelled:
            return False
        except ServerError as error:
            self._error = str(error)
            return False
        return True

    def finished(self, result):
        """Hand over the answer."""
        if result or self._error:
            self._done(self._found, self._error)


class DrawnMasks:
    """The boxes drawn on the map, and their masks.

    Args:
        tell: shows the user a sentence.
    """

    def __init__(self, tell):
        self._tell, self._rows, self._tasks = tell, {}, set()

    def add(self, layer: QgsRasterLayer, geometry: QgsGeometry, crs) -> QgsTask | None:
        """Add a box, and ask for its mask.

        Args:
            layer: the raster layer that it is on.
            geometry: its polygon.
            crs: of the geometry.

        Returns:
            The task that asks, which its caller starts; None if the box cannot be asked.
        """
        project = QgsProject.instance()
        box = QgsGeometry(geometry)
        try:
            box.transform(QgsCoordinateTransform(crs, layer.crs(), project.transformContext()))
            task = MaskTask(layer, box, lambda found, error: self._answered(layer, task, found, error))
        except (ServerError, QgsCsException) as error:
            self._tell(str(error))
            return None
        _append(_scratch(layer, BOXES, QgsFields()), box, [])
        self._tasks.add(task)  # QGIS holds no reference to the Python half
        return task

    def _answered(self, layer, task, found, error) -> None:
        self._tasks.discard(task)
        if error:
            self._tell(error)
            return
        of_map, score = found
        if not of_map:
            self._tell("The mask of this box is empty")
            return
        target = _scratch(layer, MASKS, result_fields())
        rows = self._rows.get(target.id())
        if rows is None:
            rows = self._rows[target.id()] = Rows(layer.crs(), QgsProject.instance().transformContext())
        geometry, attributes = rows.add(of_map, 0, "object", score)
        _append(target, geometry, attributes)


def _scratch(raster: QgsRasterLayer, name: str, fields: QgsFields) -> QgsVectorLayer:
    """The scratch layer of a raster, made when it is missing."""
    project = QgsProject.instance()
    for layer in project.mapLayersByName(name):
        if layer.customProperty(_RASTER) == raster.id():
            return layer
    layer = QgsVectorLayer("MultiPolygon", name, "memory")
    layer.setCrs(raster.crs())
    layer.dataProvider().addAttributes([QgsField(field) for field in fields])
    layer.updateFields()
    layer.setCustomProperty(_RASTER, raster.id())
    layer.renderer().setSymbol(QgsFillSymbol.createSimple(_STYLES[name]))
    project.addMapLayer(layer)
    return layer


def _append(layer: QgsVectorLayer, geometry: QgsGeometry, attributes: list) -> None:
    feature = QgsFeature(layer.fields())
    geometry = QgsGeometry(geometry)
    geometry.convertToMultiType()
    feature.setGeometry(geometry)
    feature.setAttributes(attributes)
    added, _ = layer.dataProvider().addFeatures([feature])
    if not added:
        QgsMessageLog.logMessage(f"{layer.name()}: a feature could not be added", "Insight", Qgis.Warning)
    layer.updateExtents()
    layer.triggerRepaint()
