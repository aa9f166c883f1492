"""The base class of both algorithms."""

from __future__ import annotations

from pathlib import Path

from qgis.core import (
    QgsProcessingAlgorithm,
    QgsProcessingException,
    QgsProcessingParameterDefinition,
    QgsProcessingParameterNumber,
    QgsProcessingParameterRasterLayer,
    QgsProcessingParameterString,
)
from qgis.PyQt.QtGui import QIcon

from .client import ServerError
from .raster import Raster

ICON = str(Path(__file__).parent / "icon.svg")
RASTER, SIMPLIFY, MODEL, OUTPUT = "RASTER", "SIMPLIFY", "MODEL", "OUTPUT"


class InsightAlgorithm(QgsProcessingAlgorithm):
    """An algorithm on a raster layer."""

    def createInstance(self):  # noqa: N802
        """Return a new one, for a run."""
        return type(self)()

    def icon(self):
        """Return the plugin's icon."""
        return QIcon(ICON)

    def add_raster(self) -> None:
        """Add the raster layer."""
        self.addParameter(QgsProcessingParameterRasterLayer(RASTER, "Raster"))

    def add_options(self) -> None:
        """Add the options of outlines and of the model."""
        simplify = QgsProcessingParameterNumber(
            SIMPLIFY, "Simplify outlines by (pixels)", QgsProcessingParameterNumber.Double, 0.0, False, 0.0, 100.0
        )
        model = QgsProcessingParameterString(MODEL, "Model (empty: the server's)", "", optional=True)
        for parameter in (simplify, model):
            parameter.setFlags(parameter.flags() | QgsProcessingParameterDefinition.FlagAdvanced)
            self.addParameter(parameter)

    def prepareAlgorithm(self, parameters, context, feedback):  # noqa: N802
        """Read the raster layer, in the main thread."""
        layer = self.parameterAsRasterLayer(parameters, RASTER, context)
        if layer is None:
            raise QgsProcessingException(self.invalidRasterError(parameters, RASTER))
        try:
            self.raster = Raster(layer)
        except ServerError as error:
            raise QgsProcessingException(str(error)) from error
        return True

    def options(self, parameters, context) -> dict:
        """Return the options."""
        return {
            "simplify": self.parameterAsDouble(parameters, SIMPLIFY, context),
            "model": self.parameterAsString(parameters, MODEL, context),
        }
