"""Saying in one line what is wrong with a JSON file."""

import json
from collections.abc import Iterable
from pathlib import Path

_SHOWN = 3  # how many offenders an error names


class FileCheck:
    """Raises one line about a file if any of its entries is wrong.

    Args:
        path: the file.
    """

    def __init__(self, path: Path):
        self.path = path

    def fails_if_any(self, offenders: Iterable, reason: str) -> None:
        """Raise if there are offenders.

        Args:
            offenders: the entries that are wrong.
            reason: what is expected of them.

        Raises:
            ValueError: the file, the reason, how many offend and the first of them.
        """
        offenders = list(offenders)
        if offenders:
            raise ValueError(f"{self.path}: {reason}; {len(offenders)} are wrong: {first(offenders)}")


def first(values: Iterable, count: int = _SHOWN) -> str:
    """The first of some values, for a line of text."""
    values = list(values)
    text = ", ".join(f"{v!r:.120}" if isinstance(v, dict) else str(v) for v in values[:count])
    return text + (", ..." if len(values) > count else "")


def read_json(path: Path) -> object:
    """What a JSON file holds.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no JSON.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not JSON ({error})") from error


def has(entry: object, *keys: str) -> bool:
    """Whether an entry is a JSON object with a value for each key."""
    return isinstance(entry, dict) and all(entry.get(key) is not None for key in keys)


def repeated(values: Iterable) -> list:
    """The values that have occurred before."""
    seen, again = set(), []
    for value in values:
        (again.append if value in seen else seen.add)(value)
    return again
