"""Inputs that exist pass, and others are named in one line."""

import pytest

from insight.errors import InputError
from insight.runtime.inputs import check_input


def test_files_and_folders_that_exist_pass(tmp_path):
    (tmp_path / "a.json").touch()
    assert check_input(tmp_path / "a.json") == tmp_path / "a.json"
    assert check_input(str(tmp_path), "images", "folder") == tmp_path


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "^absent: no such file$"),
        (("weights", "checkpoint"), "^weights: absent: no such checkpoint$"),
        (("", "file or folder"), "^absent: no such file or folder$"),
    ],
)
def test_what_does_not_exist_is_named(tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=said):
        check_input("absent", *arguments)
