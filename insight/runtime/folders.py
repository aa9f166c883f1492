"""Finding files under a folder."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path


def walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """Walk a folder and its sub-folders, following links, since large datasets are often linked together.

    Links back to a folder above them are not followed.

    Args:
        folder: where to begin.

    Yields:
        A folder, by the path that leads to it, and the names of its files.
    """
    ways = {os.fspath(folder): {os.path.realpath(folder)}}  # the real folders that lead to each
    for parent, children, names in os.walk(folder, followlinks=True):
        yield Path(parent), names
        way = ways.pop(parent)
        real = {name: os.path.realpath(os.path.join(parent, name)) for name in children}
        children[:] = [name for name in children if real[name] not in way]
        ways.update((os.path.join(parent, name), way | {real[name]}) for name in children)


def files_under(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """List the files under a folder.

    Args:
        folder: where to look.
        suffixes: suffixes in lower case with a dot; files match in any case.

    Returns:
        The files, sorted, without hidden files.
    """
    found = [parent / name for parent, names in walk(folder) for name in names]
    return sorted(path for path in found if path.suffix.lower() in suffixes and not path.name.startswith("."))
