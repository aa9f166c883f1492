"""QGIS plugin: masks from boxes, from an insight server. It needs QGIS and the standard library alone, no torch."""


def classFactory(iface):  # noqa: N802, the name that QGIS calls
    """Make the plugin.

    Args:
        iface: QGIS's interface; None in `qgis_process`.
    """
    from .plugin import InsightMasksPlugin

    return InsightMasksPlugin(iface)
