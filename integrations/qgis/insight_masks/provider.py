"""The algorithms in QGIS's Processing toolbox."""

from __future__ import annotations

from qgis.core import QgsProcessingProvider
from qgis.PyQt.QtGui import QIcon

from .algorithm import ICON
from .find_objects import FindObjects
from .masks_from_boxes import MasksFromBoxes
from .server import GROUP, add_settings, remove_settings


class InsightProvider(QgsProcessingProvider):
    """Insight's algorithms."""

    def id(self):
        """Return the provider's id."""
        return "insight"

    def name(self):
        """Return what users read."""
        return GROUP

    def icon(self):
        """Return the plugin's icon."""
        return QIcon(ICON)

    def load(self):
        """Add the settings and the algorithms."""
        add_settings(self.icon())
        self.refreshAlgorithms()
        return True

    def unload(self):
        """Remove the settings."""
        remove_settings()

    def loadAlgorithms(self):  # noqa: N802
        """Add the algorithms."""
        self.addAlgorithm(MasksFromBoxes())
        self.addAlgorithm(FindObjects())
