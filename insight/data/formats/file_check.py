"""Saying in one line what is wrong with a file."""

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

# How to go on without what is wrong: ends the error of a strict check.
SKIP_HINT = "skip_bad=True leaves out what is wrong"
SKIP_HINT_IN_CONFIG = "DATASETS.BAD skip leaves out what is wrong"

_T = TypeVar("_T")
_SHOWN = 3  # how many offenders an error names


class FileCheck:
    """Raises one line about a file or folder if any of its entries is wrong, or notes it and goes on without them.

    Args:
        path: the file or folder.
        strict: raise; otherwise `problems` gathers the offenders by reason.
        hint: ends what a strict check raises of entries that it could go on without: how to leave them out.
    """

    def __init__(self, path: Path, strict: bool = True, hint: str = ""):
        self.path = path
        self.strict = strict
        self._ending = f"; {hint}" if hint else ""
        self.problems: dict[str, list] = {}

    def fails_if_any(self, offenders: Iterable, reason: str) -> None:
        """Raise if there are offenders, strict or not: without them the file cannot be used.

        Args:
            offenders: the entries that are wrong.
            reason: what is expected of them.

        Raises:
            ValueError: the file, the reason, how many offend and the first of them.
        """
        offenders = list(offenders)
        if offenders:
            raise ValueError(self._line(offenders, reason))

    def keep(
        self, entries: Iterable, good: Callable[[object], bool], reason: str, name: Callable[[object], object]
    ) -> list:
        """The entries that are good.

        Args:
            entries: all of them.
            good: whether one is.
            reason: what is expected of them.
            name: what to call an offender.

        Returns:
            Those that are good.

        Raises:
            ValueError: if strict, as `fails_if_any`, with the hint.
        """
        kept, offenders = [], []
        for entry in entries:
            (kept if good(entry) else offenders).append(entry)
        if offenders:
            names = [name(entry) for entry in offenders]
            if self.strict:
                raise ValueError(self._line(names, reason) + self._ending)
            self.note(reason, names)
        return kept

    def attempt(self, read: Callable[[], _T], reason: str) -> _T | None:
        """What `read` returns; if it raises OSError or ValueError and this is not strict, None.

        Args:
            read: reads an entry.
            reason: what is expected of it.

        Raises:
            OSError, ValueError: if strict, what `read` raises, with the hint.
        """
        try:
            return read()
        except (OSError, ValueError) as error:
            if self.strict:
                kind = OSError if isinstance(error, OSError) else ValueError
                raise kind(f"{error}{self._ending}") from error
            self.note(reason, [str(error)])
            return None

    def note(self, reason: str, offenders: Iterable) -> None:
        """Add to `problems` if there are offenders."""
        offenders = list(offenders)
        if offenders:
            self.problems.setdefault(reason, []).extend(offenders)

    def summary(self) -> str:
        """One line: how many were left out for each reason, and the first of them."""
        reasons = "; ".join(f"{reason}: {len(who)} ({first(who)})" for reason, who in self.problems.items())
        return f"{self.path}: left out what is wrong: {reasons}"

    def _line(self, offenders: list, reason: str) -> str:
        return f"{self.path}: {reason}; {len(offenders)} are wrong: {first(offenders)}"


def first(values: Iterable, count: int = _SHOWN) -> str:
    """The first of some values, for a line of text."""
    values = list(values)
    text = ", ".join(f"{v!r:.120}" if isinstance(v, dict) else str(v) for v in values[:count])
    return text + (", ..." if len(values) > count else "")


def read_json(path: Path) -> object:
    """What a JSON file holds.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no JSON, or lists in lists in lists ... of it.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON ({error})") from error
    except RecursionError as error:
        raise ValueError(f"{path}: its lists are nested too deeply") from error


def read_text(path: Path) -> str:
    """What a text file in UTF-8 holds.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no text.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not a text file ({error})") from error


def has(entry: object, *keys: str) -> bool:
    """Whether an entry is a JSON object with a value for each key."""
    return isinstance(entry, dict) and all(entry.get(key) is not None for key in keys)


def repeated(values: Iterable) -> list:
    """The values that have occurred before."""
    seen, again = set(), []
    for value in values:
        (again.append if value in seen else seen.add)(value)
    return again


def numbers(values: object, least: int) -> bool:
    """Whether this is a list of at least so many finite numbers; true and false are none."""
    return (
        isinstance(values, list)
        and len(values) >= least
        and all(type(v) in (int, float) and abs(v) <= sys.float_info.max for v in values)  # NaN is not
    )
