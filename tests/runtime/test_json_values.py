"""JSON that may come from anyone."""

import pytest

from insight.errors import InputError
from insight.runtime.json_values import parse_json, plain


def test_values():
    assert parse_json(b'{"a": [1, null, "\xc3\xa4"]}', "a.json") == {"a": [1, None, "ä"]}


@pytest.mark.parametrize(
    "text, said",
    [
        (b"[" * 100_000, "its lists are nested too deeply"),
        (b'{"a":' * 100_000, "its lists are nested too deeply"),
        (b"9" * 5000, "not JSON (Exceeds the limit"),
        (b"", "not JSON (Expecting value"),
        (b"\xff\xfe\xfa", "not JSON ("),
        ("[1, 2", "not JSON ("),
    ],
)
def test_what_is_none_is_one_line(text, said):
    with pytest.raises(InputError) as error:
        parse_json(text, "a.json, line 3")
    assert str(error.value).startswith(f"a.json, line 3: {said}") and "\n" not in str(error.value)


def test_plain_values_have_no_nan():
    assert plain({"a": (float("nan"), 1.5), "b": float("inf")}) == {"a": [None, 1.5], "b": None}
