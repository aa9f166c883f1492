"""Finding files under a folder."""

import os
from collections.abc import Sequence
from pathlib import Path


def files_under(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files in a folder and its sub-folders, through links too, as large data sets are often linked together.

    Args:
        folder: where to look.
        suffixes: lower case, with a dot; a file's may be upper case.

    Returns:
        The files but hidden ones, sorted.
    """
    found = [Path(parent, name) for parent, _, names in os.walk(folder, followlinks=True) for name in names]
    return sorted(path for path in found if path.suffix.lower() in suffixes and not path.name.startswith("."))
