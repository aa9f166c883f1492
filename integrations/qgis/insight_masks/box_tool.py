"""Map tool: a box at any angle, by three clicks."""

from __future__ import annotations

import math

from qgis.core import QgsGeometry, QgsPointXY, QgsWkbTypes
from qgis.gui import QgsMapTool, QgsRubberBand
from qgis.PyQt.QtCore import Qt, pyqtSignal
from qgis.PyQt.QtGui import QColor


class BoxTool(QgsMapTool):
    """Draw a box: two clicks along one side of it, the third on the other side. Esc or the right button starts over.

    Args:
        canvas: the map canvas.

    Attributes:
        drawn: signal; a QgsGeometry, polygon of four corners in the CRS of the canvas.
    """

    drawn = pyqtSignal(QgsGeometry)

    def __init__(self, canvas):
        super().__init__(canvas)
        self.setCursor(Qt.CrossCursor)
        self._clicked: list[QgsPointXY] = []
        self._band = QgsRubberBand(canvas, QgsWkbTypes.PolygonGeometry)
        self._band.setColor(QColor(38, 166, 154))
        self._band.setFillColor(QColor(38, 166, 154, 50))
        self._band.setWidth(2)

    def canvasReleaseEvent(self, event):  # noqa: N802
        """Take a corner."""
        if event.button() == Qt.RightButton:
            self._begin()
            return
        point = event.mapPoint()
        if self._clicked and point == self._clicked[-1]:
            return
        if len(self._clicked) < 2:
            self._clicked.append(point)
            return
        corners = rotated_box(*self._clicked, point)
        self._begin()
        if corners is not None:
            self.drawn.emit(QgsGeometry.fromPolygonXY([[*corners, corners[0]]]))

    def canvasMoveEvent(self, event):  # noqa: N802
        """Show the box as it would be."""
        if not self._clicked:
            return
        point = event.mapPoint()
        corners = rotated_box(*self._clicked, point) if len(self._clicked) == 2 else None
        shown = corners or [*self._clicked, point]
        self._band.setToGeometry(QgsGeometry.fromPolygonXY([[*shown, shown[0]]]), None)

    def keyPressEvent(self, event):  # noqa: N802
        """Start over on Esc."""
        if event.key() == Qt.Key_Escape and self._clicked:
            self._begin()
            event.accept()
        else:
            event.ignore()

    def deactivate(self):
        """Forget a box that is not finished."""
        self._begin()
        super().deactivate()

    def _begin(self) -> None:
        self._clicked = []
        self._band.reset(QgsWkbTypes.PolygonGeometry)


def rotated_box(first: QgsPointXY, second: QgsPointXY, third: QgsPointXY) -> list[QgsPointXY] | None:
    """Return the corners of the box with a side from the first to the second point, whose other side passes the third.

    None for a box without an area.
    """
    dx, dy = second.x() - first.x(), second.y() - first.y()
    length = math.hypot(dx, dy)
    if not length:
        return None
    nx, ny = -dy / length, dx / length
    width = (third.x() - first.x()) * nx + (third.y() - first.y()) * ny
    if not width:
        return None
    step = nx * width, ny * width
    return [first, second, *(QgsPointXY(point.x() + step[0], point.y() + step[1]) for point in (second, first))]
