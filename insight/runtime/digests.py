"""Digests of files and bytes, by which results are matched to the content that they depend on."""

import functools
import hashlib
import os
from pathlib import Path

from insight.errors import InputError


def file_digest(path: str | os.PathLike) -> str:
    """Return the SHA-256 digest of a file.

    Args:
        path: the file.

    Returns:
        64 hexadecimal digits.

    Raises:
        InputError: there is no such file.
        OSError: it cannot be read.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    state = os.stat(path)
    return _file_digest(os.path.realpath(path), state.st_size, state.st_mtime_ns, state.st_ino)


@functools.lru_cache(maxsize=1 << 16)
def _file_digest(path: str, *state: int) -> str:
    """Cached: a file is read once per run unless it changes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest(*parts: bytes) -> str:
    """Return the SHA-256 digest of byte strings, which also depends on where each ends.

    Args:
        parts: the byte strings.

    Returns:
        64 hexadecimal digits.
    """
    state = hashlib.sha256()
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.hexdigest()
