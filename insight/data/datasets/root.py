"""Folders that hold the datasets."""

import os
from pathlib import Path


def data_root() -> Path:
    """Return the folder that holds the datasets.

    Returns:
        INSIGHT_DATA if it is set; else DETECTRON2_DATASETS if it is set; else `datasets` in the current folder, as in
        Detectron2.
    """
    return Path(os.environ.get("INSIGHT_DATA") or os.environ.get("DETECTRON2_DATASETS") or "datasets").expanduser()


def render_root() -> Path:
    """Return the folder for datasets that the package renders.

    Returns:
        INSIGHT_DATA if it is set and can be written to; else insight/ in the user's cache folder (XDG_CACHE_HOME, or
        ~/.cache).
    """
    named = os.environ.get("INSIGHT_DATA")
    if named and os.access(Path(named).expanduser(), os.W_OK):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "insight"
