"""Where data sets lie, and where rendered ones may be written."""

import os
from pathlib import Path

_REPOSITORY = Path(__file__).resolve().parents[3]


def data_root() -> Path:
    """The folder that holds the data sets.

    Returns:
        INSIGHT_DATA if it is set; else shared/data beside the repository, if it exists; else ./datasets.
    """
    named = os.environ.get("INSIGHT_DATA")
    if named:
        return Path(named).expanduser()
    beside = _REPOSITORY.parent / "shared" / "data"
    return beside if beside.is_dir() else Path("datasets")


def render_root() -> Path:
    """The folder under which data that the project draws itself is kept.

    Returns:
        INSIGHT_DATA if it is set and can be written to; else insight/ in the user's cache folder (XDG_CACHE_HOME, or
        ~/.cache). A folder that nobody named is never written to.
    """
    named = os.environ.get("INSIGHT_DATA")
    if named and os.access(Path(named).expanduser(), os.W_OK):
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "insight"
