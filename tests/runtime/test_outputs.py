"""What can be written to is known before any work."""

import re
from pathlib import Path

import pytest

from insight.errors import InputError
from insight.runtime.outputs import check_output_file, check_output_folder

NOT_LINUX = pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc")


def test_nothing_is_made_by_looking(tmp_path):
    assert check_output_file(f"{tmp_path}/new/a.json") == tmp_path / "new" / "a.json"
    assert check_output_folder(f"{tmp_path}/new/folder") == tmp_path / "new" / "folder"
    (tmp_path / "old").touch()
    assert check_output_file(f"{tmp_path}/old") == tmp_path / "old" and check_output_folder(str(tmp_path)) == tmp_path
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_a_name_alone_is_of_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert check_output_file("a.json") == Path("a.json") and check_output_folder("new/folder") == Path("new/folder")


@pytest.mark.parametrize(
    "check, path, error, said",
    [
        (check_output_file, "", InputError, "expected the name of a file to write, got nothing"),
        (check_output_file, "FOLDER", InputError, "expected a file to write, but FOLDER is a folder"),
        (check_output_file, "FOLDER/file/a.json", InputError, "to be a folder, but FOLDER/file is a file"),
        (check_output_folder, "", InputError, "expected the name of a folder, got nothing"),
        (check_output_folder, "FOLDER/file", InputError, "to be a folder, but FOLDER/file is a file"),
        (check_output_folder, "FOLDER/file/deeper", InputError, "to be a folder, but FOLDER/file is a file"),
        pytest.param(check_output_file, "/proc/a.json", OSError, "/proc takes no file", marks=NOT_LINUX),
        pytest.param(check_output_folder, "/proc/new/folder", OSError, "/proc takes no file", marks=NOT_LINUX),
    ],
)
def test_what_cannot_be_written_is_an_error_that_names_the_argument(tmp_path, check, path, error, said):
    (tmp_path / "file").touch()
    path, said = (text.replace("FOLDER", str(tmp_path)) for text in (path, said))
    with pytest.raises(error, match=f"^output: .*{re.escape(said)}"):
        check(path)


def test_suffixes_may_be_limited(tmp_path):
    assert check_output_file(f"{tmp_path}/A.HTML", suffixes=(".html", ".htm")).name == "A.HTML"
    with pytest.raises(InputError, match="^output: expected a file name that ends in .html or .htm, got .*a.png$"):
        check_output_file(f"{tmp_path}/a.png", suffixes=(".html", ".htm"))


def test_a_folder_in_place_of_a_file_has_no_suffix_of_another(tmp_path):
    for name in ("found", "run.v2", "out_0.5", "2026.11.30"):
        assert check_output_folder(tmp_path / name, or_files=(".gpkg", ".fgb", ".shp")) == tmp_path / name
    expected = "^output: expected a folder, or a file name that ends in .gpkg, .fgb or .shp, got .*found.xyz$"
    with pytest.raises(InputError, match=expected):
        check_output_folder(tmp_path / "found.xyz", or_files=(".gpkg", ".fgb", ".shp"))
    (tmp_path / "found.xyz").mkdir()
    assert check_output_folder(tmp_path / "found.xyz", or_files=(".gpkg",)) == tmp_path / "found.xyz"


def test_the_argument_may_have_another_name(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="^OUTPUT_DIR: expected .*/file to be a folder"):
        check_output_folder(str(tmp_path / "file"), "OUTPUT_DIR")
