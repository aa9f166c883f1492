"""Check of compiled libraries before loading; loading a truncated one kills the process with SIGBUS."""

import os
import struct

_ELF = b"\x7fELF\x02\x01"  # 64 bits, little-endian: every Linux that torch supports


def truncation(path: str | os.PathLike) -> str | None:
    """Check whether a library ends before the last byte that the system's loader will map.

    Args:
        path: the library. A file in another format than 64-bit ELF counts as complete.

    Returns:
        One line that says what is wrong and what to do; None if the library is complete, or so short that the loader
        itself reports an error.
    """
    with open(path, "rb") as file:
        header = file.read(64)
        if len(header) < 64 or not header.startswith(_ELF):
            return None
        (start,) = struct.unpack_from("<Q", header, 32)
        entry, count = struct.unpack_from("<HH", header, 54)
        file.seek(start)
        table = file.read(entry * count)
        size = file.seek(0, os.SEEK_END)
    end = start + entry * count
    for at in range(0, len(table) - entry + 1, entry):
        (offset,), (length,) = struct.unpack_from("<Q", table, at + 8), struct.unpack_from("<Q", table, at + 32)
        end = max(end, offset + length)
    if size >= end:
        return None
    return (
        f"{path} is truncated: expected at least {end} bytes, got {size}; a build or a copy was interrupted, run "
        "`pip install --no-build-isolation -e .` again"
    )
