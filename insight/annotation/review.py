"""The review file: a decision on each mask, for a person to change."""

import contextlib
import csv
import functools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from insight.data.formats.file_check import first
from insight.errors import InputError
from insight.runtime.atomic_files import atomic_write

from .candidates import Candidate, Verdict
from .filters import REASONS, WITHOUT_MASK

COLUMNS = ("image", "id", "class", "score", "reason", "decision")
DECISIONS = ("drop", "keep")
_BETWEEN = "+"  # several reasons


class _Row(NamedTuple):
    number: int
    mask: tuple[str, str, float | None]  # image, class, score
    verdict: Verdict


class Review:
    """Judge candidates by the decisions in a review file.

    Args:
        path: a file written by `open_review`; decisions may be changed and rows reordered.

    Raises:
        OSError: it cannot be read.
        InputError: it is not a review file, has a wrong value, or an id twice; the message names the line.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self._rows: dict[str, _Row] = {}  # by the id as text
        self._asked: set[str] = set()
        for identifier, row in _rows(self.path):
            if identifier in self._rows:
                raise InputError(f"{self.path}, line {row.number}: id {identifier} is in line "
                                 f"{self._rows[identifier].number} already")  # fmt: skip
            self._rows[identifier] = row

    def __call__(self, candidate: Candidate) -> Verdict:
        """The person's decision.

        Raises:
            InputError: the file has none, or its row describes another mask.
        """
        row = self._rows.get(str(candidate.id))
        if row is None:
            raise InputError(f"{self.path}: lacks id {candidate.id} ({candidate.class_name} in {candidate.image.name})")
        mask = _mask(candidate)
        if row.mask != mask:
            raise InputError(
                f"{self.path}, line {row.number}: describes another mask: id {candidate.id} is (image, class, score) "
                f"{mask}, not {row.mask}"
            )
        if row.verdict.keep and set(row.verdict.reasons) & set(WITHOUT_MASK):
            raise InputError(f"{self.path}, line {row.number}: id {candidate.id} has no mask and cannot be kept")
        self._asked.add(str(candidate.id))
        return row.verdict

    def check_all_were_asked(self) -> None:
        """Raise InputError if rows belong to no mask."""
        unknown = sorted(self._rows.keys() - self._asked)
        if unknown:
            raise InputError(f"{self.path}: {len(unknown)} ids belong to no mask: {first(unknown)}")


def changes_by_hand(path: str | os.PathLike) -> int:
    """The number of decisions in a review file that overrule the filters; 0 if there is no file."""
    return sum(row.verdict.by_hand for _, row in _rows(Path(path))) if Path(path).exists() else 0


@contextlib.contextmanager
def open_review(path: str | os.PathLike) -> Iterator[Callable[[Candidate, Verdict], None]]:
    """Write a review file with a row per mask; it appears when it is complete.

    Args:
        path: the file.

    Yields:
        The function that writes a row.
    """
    with atomic_write(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)

        def add(candidate: Candidate, verdict: Verdict) -> None:
            image, class_name, score = _mask(candidate)
            reasons, decision = _BETWEEN.join(verdict.reasons), DECISIONS[verdict.keep]
            writer.writerow((image, candidate.id, class_name, score, reasons, decision))  # no score: an empty cell

        yield add


def _mask(candidate: Candidate) -> tuple[str, str, float | None]:
    return candidate.image.name, candidate.class_name, candidate.measured.get("score")


def _rows(path: Path) -> Iterator[tuple[str, _Row]]:
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        try:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise InputError(f"{path}: expected a review file with the columns {', '.join(COLUMNS)}")
            for values in reader:
                yield _parse(values, f"{path}, line {reader.line_num}", reader.line_num)
        except (csv.Error, UnicodeDecodeError) as error:
            raise InputError(f"{path}: not a CSV text file ({error})") from error


def _parse(values: dict, where: str, number: int) -> tuple[str, _Row]:
    if None in values or None in values.values():
        raise InputError(f"{where}: expected {len(COLUMNS)} values")
    if not values["id"].strip():
        raise InputError(f"{where}: id: expected the id of a box, got {values['id']!r:.80}")
    if values["decision"].strip() not in DECISIONS:
        raise InputError(f"{where}: decision: expected keep or drop, got {values['decision']!r:.80}")
    try:
        score = float(values["score"]) if values["score"] else None
    except ValueError:
        raise InputError(f"{where}: score: expected a number or nothing, got {values['score']!r:.80}") from None
    try:
        verdict = _verdict(values["decision"].strip() == "keep", values["reason"])
    except ValueError as error:
        raise InputError(f"{where}: {error}") from None
    # A large file holds few different names.
    mask = sys.intern(values["image"]), sys.intern(values["class"]), score
    return values["id"].strip(), _Row(number, mask, verdict)


@functools.lru_cache
def _verdict(keep: bool, reasons: str) -> Verdict:
    found = tuple(reasons.split(_BETWEEN)) if reasons else ()
    if not set(found) <= REASONS.keys():
        raise InputError(f"reason: expected some of {', '.join(REASONS)}, joined by {_BETWEEN}, got {reasons!r:.80}")
    return Verdict(keep, found)
