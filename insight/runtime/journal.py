"""The results of a long run so far, kept on disk so that a killed run resumes where it was."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from insight.errors import InputError

from .json_values import parse_json


class Journal:
    """A file of results, a line each, that a later run with the same settings finds again.

    Every result is on disk as soon as it is added, and is read from there: memory holds only where each begins. A line
    that a kill cut off is removed when the file is opened again.

    Args:
        path: the file; its folder is made if need be.
        settings: all that the results depend on, as JSON values; results of other settings are thrown away.

    Raises:
        InputError: the file is damaged, which no kill does to it.
    """

    def __init__(self, path: str | os.PathLike, settings: dict[str, Any]):
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if settings_of(self.path) != json.loads(json.dumps(settings)):
            self.path.write_bytes(_line(settings))
        self._places: dict[str, int] = {}
        with open(self.path, "r+b") as file:
            end = len(file.readline())
            for number, line in enumerate(file, 2):
                if not line.endswith(b"\n"):
                    file.truncate(end)
                    break
                key = _read(line.partition(b"\t")[0], self.path, f"line {number}")
                if not isinstance(key, str):
                    raise _damaged(self.path, f"line {number}")
                self._places[key] = end
                end += len(line)

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __iter__(self) -> Iterator[str]:
        """The keys, in the order in which they were added."""
        return iter(self._places)

    def __getitem__(self, key: str) -> Any:
        """The result that was added under a key."""
        with open(self.path, "rb") as file:
            file.seek(self._places[key])
            return _read(file.readline().partition(b"\t")[2], self.path, f"the result of {key}")

    def add(self, key: str, result: Any) -> None:
        """Add a result.

        Args:
            key: the key.
            result: JSON values.
        """
        with open(self.path, "ab") as file:
            place = file.tell()
            file.write(_line(key, result))
        self._places[key] = place


def settings_of(path: str | os.PathLike) -> dict[str, Any] | None:
    """The settings of a journal.

    Args:
        path: the file.

    Returns:
        The settings; None if there is no such file, or it was killed before it held any.

    Raises:
        InputError: the file is damaged.
    """
    path = Path(path)
    if not path.is_file():
        return None
    with open(path, "rb") as file:
        line = file.readline()
    if not line.endswith(b"\n"):
        return None
    settings = _read(line, path, "line 1")
    if not isinstance(settings, dict):
        raise _damaged(path, "line 1")
    return settings


def _read(text: bytes, path: Path, place: str) -> Any:
    try:
        return parse_json(text, place)
    except InputError:
        raise _damaged(path, place) from None


def _damaged(path: Path, place: str) -> InputError:
    return InputError(f"{path}, {place}: damaged; remove the file to start over")


def _line(*values: Any) -> bytes:
    return "\t".join(json.dumps(value) for value in values).encode() + b"\n"
