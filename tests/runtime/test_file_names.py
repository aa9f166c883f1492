import os

import pytest

from insight.runtime.atomic_files import atomic_write
from insight.runtime.file_names import safe_name, with_name


@pytest.mark.parametrize("name", ["scenes_val", "a b-1.2", "порт", "船", "name\udcff", "100%"])
def test_a_plain_name_stays(name):
    assert safe_name(name, "_results.json") == f"{name}_results.json"


@pytest.mark.parametrize(
    "name",
    ["../../../evil", "/etc/passwd", "..", ".", "", "a\\b", "c:x", ".hidden", "a\0b", "a\nb", "x" * 300, "船" * 200],
)
def test_every_name_is_a_file_in_its_folder(tmp_path, name):
    path = tmp_path / "out" / safe_name(name, ".json")
    with atomic_write(path) as file:
        file.write("x")
    assert [p.name for p in (tmp_path / "out").iterdir()] == [path.name]
    assert os.listdir(tmp_path) == ["out"] and path.name.endswith(".json") and not path.name.startswith(".")


def test_different_names_stay_different():
    names = ["a/b", "a\\b", "ab", "x" * 300, "x" * 301, "x" * 300 + "y", "..", "."]
    assert len({safe_name(name, ".png") for name in names}) == len(names)


@pytest.mark.parametrize("length", [230, 249, 255])
def test_the_longest_names_of_a_file_system_are_written(tmp_path, length):
    for name in ("x" * (length - 4) + ".png", "é" * ((length - 4) // 2) + ".png"):
        with atomic_write(tmp_path / name, "wb") as file:
            file.write(b"x")
        assert (tmp_path / name).read_bytes() == b"x"
    assert len(os.listdir(tmp_path)) == 2


def test_file_names_that_are_no_utf_8_are_written_as_their_bytes(tmp_path):
    name = os.fsdecode(b"\xe8\x88.png")
    with atomic_write(tmp_path / "list.txt") as file:
        file.write(name)
    assert (tmp_path / "list.txt").read_bytes() == b"\xe8\x88.png"


@pytest.mark.parametrize(
    ("name", "reason", "names_it"),
    [
        ("a.png", "no such file: /images/a.png", True),
        ("a.png", "a.png: is 3 x 4 pixels", True),
        ("sub/a.png", "cannot read image /images/sub/a.png.", True),
        ("/images/a.png", "/images/a.png, line 1: no number", True),
        ("a.png", "/images/data.png: no number", False),
        ("a.png", "/images/a.png.txt, line 1: no number", False),
        ("a.png", "/a.png/b.txt, line 1: no number", False),
        ("a.png", "/images/aXpng: no number", False),
        ("sub/a.png", "/images/other-sub/a.png: no number", False),
    ],
)
def test_a_reason_gets_the_name_that_it_lacks(name, reason, names_it):
    assert with_name(name, reason) == (reason if names_it else f"{name}: {reason}")
