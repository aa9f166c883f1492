"""Finding files under a folder."""

import os
from collections.abc import Sequence
from pathlib import Path


def files_under(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """The files in a folder and its sub-folders, through links too, as large data sets are often linked together.

    Links back to a folder that leads to them are not followed, as they have no end.

    Args:
        folder: where to look.
        suffixes: lower case, with a dot; a file's may be upper case.

    Returns:
        The files but hidden ones, sorted.
    """
    found = []
    ways = {os.fspath(folder): {os.path.realpath(folder)}}  # the real folders that lead to each
    for parent, children, names in os.walk(folder, followlinks=True):
        found += [Path(parent, name) for name in names]
        way = ways.pop(parent)
        real = {name: os.path.realpath(os.path.join(parent, name)) for name in children}
        children[:] = [name for name in children if real[name] not in way]
        ways.update((os.path.join(parent, name), way | {real[name]}) for name in children)
    return sorted(path for path in found if path.suffix.lower() in suffixes and not path.name.startswith("."))
