"""In QGIS's own Python: draws a box with the map tool, waits for its mask, and prints both as JSON.

Arguments: raster, three clicks x,y on the map.
"""

import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "integrations" / "qgis"))
sys.path.append("/usr/share/qgis/python/plugins")
from qgis.core import QgsApplication, QgsPointXY, QgsProject, QgsRasterLayer
from qgis.gui import QgsMapCanvas, QgsMapMouseEvent
from qgis.PyQt.QtCore import QEvent, QPoint, Qt


class Event(QgsMapMouseEvent):
    """A click or a move at a place of the map, whatever the canvas shows."""

    def __init__(self, canvas, kind, place, button=Qt.LeftButton):
        super().__init__(canvas, kind, QPoint(0, 0), button)
        self._place = place

    def mapPoint(self):  # noqa: N802
        return self._place


def main(raster: str, *clicks: str) -> None:
    QgsApplication.setPrefixPath("/usr", True)
    application = QgsApplication([], True)
    application.initQgis()
    from insight_masks.box_tool import BoxTool
    from insight_masks.drawn_masks import MASKS, DrawnMasks
    from insight_masks.server import add_settings

    add_settings(None)
    layer = QgsRasterLayer(raster, "scene")
    QgsProject.instance().addMapLayer(layer)
    canvas = QgsMapCanvas()
    canvas.setDestinationCrs(layer.crs())
    canvas.setLayers([layer])
    sentences: list[str] = []
    masks = DrawnMasks(sentences.append)
    tool, drawn = BoxTool(canvas), []
    tool.drawn.connect(drawn.append)
    places = [QgsPointXY(*map(float, click.split(","))) for click in clicks]
    tool.canvasReleaseEvent(Event(canvas, QEvent.MouseButtonRelease, places[0]))
    tool.canvasReleaseEvent(Event(canvas, QEvent.MouseButtonRelease, places[1], Qt.RightButton))  # starts over
    for place in places:
        tool.canvasMoveEvent(Event(canvas, QEvent.MouseMove, place))
        tool.canvasReleaseEvent(Event(canvas, QEvent.MouseButtonRelease, place))
    assert len(drawn) == 1, drawn
    for _ in range(2):
        QgsApplication.taskManager().addTask(masks.add(layer, drawn[0], layer.crs()))
        while QgsApplication.taskManager().countActiveTasks():
            application.processEvents()
    [found] = QgsProject.instance().mapLayersByName(MASKS)
    rows = [
        {**dict(zip(found.fields().names(), feature.attributes())), "wkt": feature.geometry().asWkt(3)}
        for feature in found.getFeatures()
    ]
    print(json.dumps({"box": drawn[0].asWkt(3), "crs": found.crs().authid(), "masks": rows, "told": sentences}))
    sys.stdout.flush()
    os._exit(0)  # Qt may crash when Python takes it down


main(*sys.argv[1:])
