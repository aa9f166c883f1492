"""YAML files are data: what runs, is too large or unfolds without end is refused in one line."""

import os
import time

import pytest

from insight.errors import InputError
from insight.runtime.yaml_files import read_yaml


def write(tmp_path, content):
    path = tmp_path / "file.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_plain_values_are_read(tmp_path):
    text = "a: {b: [1, 2.5, true, null, '1']}\nc: &x [1, 2]\nd: *x\ne: {<<: {f: 1}}\ng: é\n"
    content = {"a": {"b": [1, 2.5, True, None, "1"]}, "c": [1, 2], "d": [1, 2], "e": {"f": 1}, "g": "é"}
    assert read_yaml(write(tmp_path, text)) == content
    assert read_yaml(write(tmp_path, "")) is None
    deep = "[" * 60 + "]" * 60
    assert read_yaml(write(tmp_path, deep)) is not None


def laughs(pattern):
    """Thirty levels, each of which is twice the one before."""
    lines = ["a0: &a0 {k: 1}"] + [f"a{n}: &a{n} " + pattern.format(f"*a{n - 1}", n=n) for n in range(1, 30)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "content, said",
    [
        ("[" * 50_000, "line 1: not YAML (nested deeper than 64 levels)"),
        ("{a: " * 50_000, "nested deeper than 64 levels"),
        ("- " * 50_000, "nested deeper than 64 levels"),
        ("a: !!python/object/apply:os.system [exit]", "line 1: the tag !!python/object/apply:os.system is refused"),
        ("\n\na: !!python/name:os.system", "line 3: the tag !!python/name:os.system is refused"),
        ("a: !mine 3", "line 1: not YAML (could not determine a constructor for the tag '!mine')"),
        ("a: [1", "line 1: not YAML"),
        ("a: *b", "line 1: not YAML (found undefined alias 'b')"),
        ("a: &a [*a]", "unfolds to more than 100,000 values"),
        ("a: &a {b: {<<: *a}}", "unfolds to more than 100,000 values"),
        (laughs("[{0}, {0}]"), "unfolds to more than 100,000 values"),
        (laughs("{{<<: [{0}, {0}], k{n}: 1}}"), "unfolds to more than 100,000 values"),
        ("- 1\n" * 150_000, "unfolds to more than 100,000 values"),
        ("a: " + "9" * 5_000, "a value cannot be read"),
        ("a: !!int x", "a value cannot be read"),
        ("a: !!bool x", "a value cannot be read"),
        ("a: !!timestamp x", "a value cannot be read"),
        ("a: 2020-13-45", "a value cannot be read"),
        ("? [a]\n: 1", "not YAML (found unhashable key)"),
        (b"\xff\xfe\x00", "expected YAML in UTF-8"),
        (b"a: \x00", "not YAML"),
        (b" " * 2_000_000, "expected at most 1,048,576 bytes of YAML"),
        (b"\x80\x04K\x01.", "expected YAML in UTF-8"),
    ],
    ids=range(23),
)
def test_what_is_no_plain_data_is_one_line_at_once(tmp_path, content, said):
    path = write(tmp_path, content)
    start = time.perf_counter()
    with pytest.raises(InputError) as caught:
        read_yaml(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and said in message
    assert "\n" not in message and len(message) < len(str(path)) + 300
    assert time.perf_counter() - start < 20


def test_what_is_no_file_is_one_line(tmp_path):
    with pytest.raises(InputError, match="expected a YAML file, got a folder"):
        read_yaml(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        read_yaml(tmp_path / "none.yaml")
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(InputError, match="no such file"):
        read_yaml(tmp_path / "pipe.yaml")
