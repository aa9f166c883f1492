"""Safe file names from arbitrary names of datasets, images and tables."""

import hashlib
import os

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


def cut(name: str, room: int) -> str:
    """Return the longest prefix of a name that fits into `room` bytes."""
    while len(os.fsencode(name)) > room:
        name = name[:-1]
    return name
