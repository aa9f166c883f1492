"""A check, before any work is done, that inputs exist."""

import os
from pathlib import Path

from insight.errors import InputError


def check_input(path: str | os.PathLike, argument: str = "", kind: str = "file") -> Path:
    """Check that a file or folder exists.

    Args:
        path: the file or folder.
        argument: name of the argument, for the error; empty where the path says enough.
        kind: what is expected, for the error.

    Returns:
        The path.

    Raises:
        InputError: it does not exist.
    """
    if not Path(path).exists():
        raise InputError(f"{argument + ': ' if argument else ''}{path}: no such {kind}")
    return Path(path)
