"""Saying in one line what is wrong with a file."""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from insight.errors import InputError
from insight.runtime.json_values import parse_json

# How to go on without what is wrong: ends the error of a strict check.
SKIP_HINT = "skip_bad=True leaves out what is wrong"
SKIP_HINT_IN_CONFIG = "DATASETS.BAD skip leaves out what is wrong"

_NUMBERS = {int, float}
_T = TypeVar("_T")
_SHOWN = 3  # how many offenders an error names
_LONGEST = 400  # characters of an offender that are shown


class FileCheck:
    """Raise one line about a file or folder if any of its entries is wrong, or note it and go on without them.

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
            InputError: the file, the reason, how many offend and the first of them.
        """
        offenders = list(offenders)
        if offenders:
            raise InputError(self._line(offenders, reason))

    def refuse(self, names: Sequence, reason: str) -> None:
        """Raise if there are offenders and this is strict; otherwise note them.

        Args:
            names: of the offenders.
            reason: what is expected of them.

        Raises:
            InputError: if strict, as `fails_if_any`, with the hint.
        """
        if names and self.strict:
            raise InputError(self._line(names, reason) + self._ending)
        self.note(reason, names)

    def keep(
        self, entries: Iterable, good: Callable[[object], bool], reason: str, name: Callable[[object], object]
    ) -> list:
        """Select the entries that are good, and `refuse` the others.

        Args:
            entries: all of them.
            good: whether one is.
            reason: what is expected of them.
            name: what to call an offender.

        Returns:
            The good entries.

        Raises:
            InputError: see `refuse`.
        """
        kept, offenders = [], []
        for entry in entries:
            (kept if good(entry) else offenders).append(entry)
        self.refuse([name(entry) for entry in offenders], reason)
        return kept

    def keep_all(self, entries: Iterable, rules: Iterable[tuple[str, Callable, Callable]]) -> list:
        """Select the entries that fulfil all rules.

        Args:
            entries: all of them.
            rules: (reason, good, name) each, see `keep`; applied one after the other.

        Returns:
            The good entries.

        Raises:
            InputError: see `refuse`.
        """
        for reason, good, name in rules:
            entries = self.keep(entries, good, reason, name)
        return list(entries)

    def attempt(self, read: Callable[[], _T], reason: str) -> _T | None:
        """Read an entry.

        Args:
            read: reads it.
            reason: what is expected of it.

        Returns:
            What `read` returns; None if it raises OSError or ValueError and this is not strict.

        Raises:
            OSError, InputError: if strict, what `read` raises, with the hint.
        """
        try:
            return read()
        except (OSError, ValueError) as error:
            if self.strict:
                kind = OSError if isinstance(error, OSError) else InputError
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

    def _line(self, offenders: Sequence, reason: str) -> str:
        are = "is" if len(offenders) == 1 else "are"
        return f"{self.path}: {reason}; {len(offenders)} {are} wrong: {first(offenders)}"


def first(values: Iterable, count: int = _SHOWN) -> str:
    """The first of some values, for a line of text."""
    values = list(values)
    text = ", ".join(f"{v!r:.120}" if isinstance(v, dict) else _shortened(str(v)) for v in values[:count])
    return text + (", ..." if len(values) > count else "")


def _shortened(text: str) -> str:
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[:half]} ... {text[-half:]}"


def read_json(path: Path) -> object:
    """Read a JSON file.

    Args:
        path: the file.

    Returns:
        Its content.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it is not JSON, is nested too deeply, or has a number of thousands of digits.
    """
    return parse_json(read_text(path), str(path))


def read_text(path: Path) -> str:
    """Read a text file in UTF-8.

    Args:
        path: the file.

    Returns:
        Its content.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: it is no text.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not a text file in UTF-8 ({error})") from error


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
    if not isinstance(values, list) or len(values) < least or not _NUMBERS.issuperset(map(type, values)):
        return False
    try:
        return all(map(math.isfinite, values))
    except OverflowError:  # an integer beyond all floats
        return False
