"""The columns of a result, as insight.geo's."""

from __future__ import annotations

from qgis.core import (
    NULL,
    QgsCoordinateReferenceSystem,
    QgsCoordinateTransform,
    QgsCoordinateTransformContext,
    QgsField,
    QgsFields,
    QgsGeometry,
    QgsPointXY,
    QgsUnitTypes,
)
from qgis.PyQt.QtCore import QVariant

from .geometry import Ring, bounds, ground_matrix, measures

_COLUMNS = {
    "instance_id": QVariant.LongLong,
    "class_id": QVariant.LongLong,
    "class_name": QVariant.String,
    "score": QVariant.Double,
    "area_m2": QVariant.Double,
    "angle": QVariant.Double,
    "length_m": QVariant.Double,
    "width_m": QVariant.Double,
}


def result_fields(carried: QgsFields | None = None) -> QgsFields:
    """Return the fields of a result.

    Args:
        carried: fields of the boxes; those named like one of the result's get the prefix "prompt_".
    """
    fields = QgsFields()
    for name, kind in _COLUMNS.items():
        fields.append(QgsField(name, kind))
    for field in carried or []:
        renamed = QgsField(field)
        renamed.setName(f"prompt_{field.name()}" if field.name() in (*_COLUMNS, "geometry") else field.name())
        fields.append(renamed)
    return fields


class Rows:
    """Rows of a result, numbered from 1.

    Args:
        crs: of the polygons.
        context: for the way from there to degrees.
    """

    def __init__(self, crs: QgsCoordinateReferenceSystem, context: QgsCoordinateTransformContext):
        self._count = 0
        self._has_place = crs.isValid()
        metre = QgsUnitTypes.fromUnitToUnitFactor(QgsUnitTypes.DistanceMeters, crs.mapUnits())
        self._step = 1e-5 if crs.isGeographic() or not self._has_place else metre
        self._to_wgs84 = QgsCoordinateTransform(crs, QgsCoordinateReferenceSystem("EPSG:4326"), context)

    def add(self, of_map: list[list[Ring]], class_id: int, class_name: str, score: float) -> tuple[QgsGeometry, list]:
        """Return the geometry and the attributes of an object.

        Args:
            of_map: its parts on the map; none for an empty mask.
        """
        self._count += 1
        head = [self._count, class_id, class_name, round(score, 5)]
        if not of_map:
            return QgsGeometry(), [*head, NULL, NULL, NULL, NULL]
        polygons = [[[QgsPointXY(x, y) for x, y in ring] for ring in part] for part in of_map]
        geometry = QgsGeometry.fromMultiPolygonXY(polygons)
        if not geometry.isGeosValid():
            geometry = geometry.makeValid()
            geometry.convertToMultiType()
        if not self._has_place:
            return geometry, [*head, NULL, NULL, NULL, NULL]
        x0, y0, x1, y1 = bounds([point for part in of_map for point in part[0]])
        matrix = ground_matrix(self._degrees, ((x0 + x1) / 2, (y0 + y1) / 2), self._step)
        area, angle, length, width = measures(of_map, matrix)
        return geometry, [*head, round(area, 3), round(angle, 2) % 180, round(length, 3), round(width, 3)]

    def _degrees(self, point):
        found = self._to_wgs84.transform(QgsPointXY(*point))
        return found.x(), found.y()
