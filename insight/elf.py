"""Whether a compiled library is all there: the system's loader dies of one that is not (SIGBUS), and Python with it."""

import os
import struct

_ELF = b"\x7fELF\x02\x01"  # of 64 bits, little-endian, as on every Linux that torch is published for


def cut_short(path: str | os.PathLike) -> str | None:
    """Look whether a library ends before the last byte that the loader will map.

    Args:
        path: the library; one of another format than 64-bit ELF counts as whole.

    Returns:
        One line, what is wrong and what to do; None if it is whole, or so short that the loader says so itself.
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
        f"{path} has {size} bytes of at least {end}, as if a build or a copy was cut short; "
        "run `pip install --no-build-isolation -e .` again"
    )
