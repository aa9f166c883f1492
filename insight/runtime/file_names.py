"""File names made of names that people give: of datasets, images, tables."""

import hashlib
import os

_LONGEST = 255  # bytes, on all usual file systems
_SEPARATORS = set('/\\:*?"<>|')


def safe_name(name: str, suffix: str = "") -> str:
    """A file name that contains a given name.

    Path separators, characters that some system forbids, control characters and a leading dot are replaced by their
    code as in URLs (`%2F`), so that the file always lies in the folder it is meant for. A name that is too long is cut
    and marked by a hash.

    Args:
        name: any text.
        suffix: what follows it, such as "_results.json".

    Returns:
        `name + suffix` wherever that is a plain file name.
    """
    plain = "".join(f"%{ord(c):02X}" if c in _SEPARATORS or ord(c) < 32 or ord(c) == 127 else c for c in name)
    if not plain or plain.startswith("."):
        plain = f"%2E{plain[1:]}" if plain else "%"
    room = _LONGEST - len(os.fsencode(suffix))
    if len(os.fsencode(plain)) > room:
        plain = cut(plain, room - 9) + "-" + hashlib.sha256(os.fsencode(plain)).hexdigest()[:8]
    return plain + suffix


def cut(name: str, room: int) -> str:
    """The longest beginning of a name that fits into so many bytes."""
    while len(os.fsencode(name)) > room:
        name = name[:-1]
    return name
