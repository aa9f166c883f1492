"""File names: safe ones from arbitrary names of datasets, images and tables, and those in messages."""

import hashlib
import os
import re

_LONGEST = 255  # bytes, on all usual file systems
_SEPARATORS = set('/\\:*?"<>|')


def safe_name(name: str, suffix: str = "") -> str:
    """Return a safe file name for a name.

    Path separators, characters that some systems forbid, control characters and a leading dot are percent-encoded
    (`%2F`), so that the file always lies in the intended folder. A name that is too long is cut and given a hash.

    Args:
        name: any text.
        suffix: end of the file name, such as "_results.json".

    Returns:
        The file name; `name + suffix` if that is safe.
    """
    plain = "".join(f"%{ord(c):02X}" if c in _SEPARATORS or ord(c) < 32 or ord(c) == 127 else c for c in name)
    if not plain or plain.startswith("."):
        plain = f"%2E{plain[1:]}" if plain else "%"
    room = _LONGEST - len(os.fsencode(suffix))
    if len(os.fsencode(plain)) > room:
        plain = cut(plain, room - 9) + "-" + hashlib.sha256(os.fsencode(plain)).hexdigest()[:8]
    return plain + suffix


def with_name(name: str | os.PathLike, reason: str) -> str:
    """Put a file's name before the reason why it cannot be used, unless the reason names it itself.

    Args:
        name: name or path of the file.
        reason: one line. It names the file if the name stands in it as a whole or as the end of a path, but not as a
            part of another name, as a.png is of data.png.

    Returns:
        One line that names the file.
    """
    whole = rf"(?<![\w.-]){re.escape(os.fspath(name))}(?![\w/-]|\.\w)"
    return reason if re.search(whole, reason) else f"{name}: {reason}"


def cut(name: str, room: int) -> str:
    """Return the longest prefix of a name that fits into `room` bytes."""
    while len(os.fsencode(name)) > room:
        name = name[:-1]
    return name
