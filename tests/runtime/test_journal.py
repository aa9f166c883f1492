import tracemalloc

import pytest

from insight.runtime.journal import Journal, settings_of

SETTINGS = {"weights": [1, 2.5], "name": "ä"}


def test_results_are_found_again_in_their_order(tmp_path):
    path = tmp_path / "new" / "a.journal"
    first = Journal(path, SETTINGS)
    first.add("b\t\n", {"masks": ["x"]})
    assert first["b\t\n"] == {"masks": ["x"]}  # at once
    first.add("a", None)
    second = Journal(path, SETTINGS)
    assert list(second) == ["b\t\n", "a"] and "c" not in second
    assert second["b\t\n"] == {"masks": ["x"]} and second["a"] is None
    second.add("c", 3)
    assert [second[key] for key in second] == [{"masks": ["x"]}, None, 3]


def test_of_a_cut_line_nothing_is_left(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    journal = Journal(whole, SETTINGS)
    for key in "abc":
        journal.add(key, key * 100)
    text = whole.read_bytes()
    for length in range(0, len(text), 7):  # killed after any of these bytes
        cut.write_bytes(text[:length])
        journal = Journal(cut, SETTINGS)
        assert list(journal) == list("abc")[: len(journal._places)]
        for key in "abc":
            if key not in journal:
                journal.add(key, key * 100)
        assert cut.read_bytes() == text


def test_results_of_other_settings_are_thrown_away(tmp_path):
    Journal(tmp_path / "a", SETTINGS).add("a", 1)
    assert settings_of(tmp_path / "a") == SETTINGS
    assert "a" not in Journal(tmp_path / "a", {**SETTINGS, "weights": [1, 2]})
    assert "a" not in Journal(tmp_path / "a", SETTINGS)
    assert settings_of(tmp_path / "absent") is None


def test_memory_does_not_grow_with_what_is_added(tmp_path):
    journal = Journal(tmp_path / "a", SETTINGS)
    tracemalloc.start()
    for key in range(20):
        journal.add(str(key), "x" * 1_000_000)
        assert len(journal[str(key)]) == 1_000_000
    Journal(tmp_path / "a", SETTINGS)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("line, place", [(0, "line 1"), (2, "line 3")])
def test_a_damaged_file_is_named_with_its_line(tmp_path, line, place):
    path = tmp_path / "masks.journal"
    for key in "abc":
        Journal(path, SETTINGS).add(key, 1)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:line], b"\x89PNG\tgarbage\n", *lines[line + 1 :]]))
    with pytest.raises(ValueError, match=f"masks.journal, {place}: damaged; remove the file to start over$"):
        Journal(path, SETTINGS)


def test_a_damaged_result_is_named_with_its_key(tmp_path):
    journal = Journal(tmp_path / "masks.journal", SETTINGS)
    journal.add("a.png", [1, 2])
    (tmp_path / "masks.journal").write_bytes((tmp_path / "masks.journal").read_bytes().replace(b"[1, 2]", b"[1, 2}"))
    with pytest.raises(ValueError, match="masks.journal, the result of a.png: damaged"):
        journal["a.png"]
