"""The plugin: a Processing provider, and a map tool that draws boxes."""

from __future__ import annotations

from qgis.core import Qgis, QgsApplication, QgsProject, QgsRasterLayer
from qgis.PyQt.QtGui import QIcon
from qgis.PyQt.QtWidgets import QAction

from .algorithm import ICON
from .provider import InsightProvider

TITLE = "Draw a box, get a mask"


class InsightMasksPlugin:
    """The plugin that QGIS loads.

    Args:
        iface: QGIS's interface; None in `qgis_process`.
    """

    def __init__(self, iface):
        self._iface, self._provider, self._action, self._tool = iface, None, None, None

    def initProcessing(self):  # noqa: N802
        """Add the algorithms."""
        self._provider = InsightProvider()
        QgsApplication.processingRegistry().addProvider(self._provider)

    def initGui(self):  # noqa: N802
        """Add the algorithms and the tool."""
        from .box_tool import BoxTool
        from .drawn_masks import DrawnMasks

        self.initProcessing()
        self._masks = DrawnMasks(self._tell)
        self._tool = BoxTool(self._iface.mapCanvas())
        self._tool.drawn.connect(self._drawn)
        self._action = QAction(QIcon(ICON), TITLE, self._iface.mainWindow())
        self._action.setCheckable(True)
        self._action.triggered.connect(lambda: self._iface.mapCanvas().setMapTool(self._tool))
        self._tool.setAction(self._action)
        self._iface.addToolBarIcon(self._action)
        self._iface.addPluginToRasterMenu("Insight", self._action)

    def unload(self):
        """Remove the algorithms and the tool."""
        if self._action is not None:
            self._iface.mapCanvas().unsetMapTool(self._tool)
            self._iface.removeToolBarIcon(self._action)
            self._iface.removePluginRasterMenu("Insight", self._action)
        if self._provider is not None:
            QgsApplication.processingRegistry().removeProvider(self._provider)

    def _drawn(self, geometry) -> None:
        layer = self._raster()
        if layer is None:
            self._tell("Add a raster layer first, and make it visible")
            return
        task = self._masks.add(layer, geometry, self._iface.mapCanvas().mapSettings().destinationCrs())
        if task is not None:
            QgsApplication.taskManager().addTask(task)

    def _raster(self) -> QgsRasterLayer | None:
        """The active layer, else the uppermost visible one, that is a raster file."""
        visible = [node.layer() for node in QgsProject.instance().layerTreeRoot().findLayers() if node.isVisible()]
        layers = [self._iface.activeLayer(), *visible]
        return next((one for one in layers if isinstance(one, QgsRasterLayer) and one.providerType() == "gdal"), None)

    def _tell(self, sentence: str) -> None:
        self._iface.messageBar().pushMessage("Insight", sentence, Qgis.Warning)
