"""What a check raises, with a hint where what is wrong could be left out."""

from pathlib import Path

import pytest

from insight.data.formats.file_check import FileCheck, numbers

STRICT = FileCheck(Path("some.json"), hint="ask for less")


def fail():
    raise FileNotFoundError("no such file: x")


def test_a_hint_ends_what_could_be_left_out():
    with pytest.raises(ValueError, match="^some.json: needs be even; 2 are wrong: 1, 3; ask for less$"):
        STRICT.keep([1, 2, 3], lambda n: n % 2 == 0, "needs be even", str)
    with pytest.raises(OSError, match="^no such file: x; ask for less$"):
        STRICT.attempt(fail, "files cannot be read")


def test_no_hint_where_nothing_can_be_left_out_or_none_was_given():
    with pytest.raises(ValueError, match="^some.json: needs be even; 1 is wrong: 1$"):
        STRICT.fails_if_any([1], "needs be even")
    with pytest.raises(ValueError, match="1 is wrong: 1$"):
        FileCheck(Path("some.json")).keep([1], lambda n: False, "needs be even", str)


def test_what_is_left_out_is_summed_up_and_nothing_is_no_problem():
    check = FileCheck(Path("some.json"), strict=False)
    check.note("odd", [])
    assert not check.problems
    assert check.attempt(fail, "files cannot be read") is None
    assert check.keep([1, 2], lambda n: n % 2 == 0, "odd", str) == [2]
    assert check.summary() == (
        "some.json: left out what is wrong: files cannot be read: 1 (no such file: x); odd: 1 (1)"
    )


def test_numbers_are_finite_and_no_truth_values():
    assert numbers([1, 2.5, -(10**20)], 3) and numbers([], 0)
    for value in (True, False, None, "1", [1], float("nan"), float("inf"), 10**400):
        assert not numbers([1, value], 2)
    assert not numbers([1], 2) and not numbers((1, 2), 2)
