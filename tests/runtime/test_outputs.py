"""What --output may name."""

from pathlib import Path

import pytest

from insight.runtime.outputs import output_file, output_folder

NOT_LINUX = pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="no /proc")


def test_nothing_is_made_by_looking(tmp_path):
    assert output_file(f"{tmp_path}/new/a.json") == tmp_path / "new" / "a.json"
    assert output_folder(f"{tmp_path}/new/folder") == tmp_path / "new" / "folder"
    (tmp_path / "old").touch()
    assert output_file(f"{tmp_path}/old") == tmp_path / "old" and output_folder(str(tmp_path)) == tmp_path
    assert [path.name for path in tmp_path.iterdir()] == ["old"]


def test_a_name_alone_is_of_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert output_file("a.json") == Path("a.json") and output_folder("new/folder") == Path("new/folder")


@pytest.mark.parametrize(
    "kind, text, said",
    [
        (output_file, "", "expected a file"),
        (output_file, "FOLDER", "expected a file"),
        (output_file, "FOLDER/file/a.json", "expected a folder, but .*/file is a file"),
        (output_folder, "", "expected a folder"),
        (output_folder, "FOLDER/file", "expected a folder, but .*/file is a file"),
        (output_folder, "FOLDER/file/deeper", "expected a folder, but .*/file is a file"),
        pytest.param(output_file, "/proc/a.json", "cannot be written, as /proc takes no file", marks=NOT_LINUX),
        pytest.param(output_folder, "/proc/new/folder", "cannot be written, as /proc takes no file", marks=NOT_LINUX),
    ],
)
def test_what_cannot_be_written_is_told_with_its_argument(tmp_path, kind, text, said):
    (tmp_path / "file").touch()
    text = text.replace("FOLDER", str(tmp_path))
    with pytest.raises(OSError, match=f"^--output {text or repr(text)}: {said}"):
        kind(text)


def test_the_argument_may_have_another_name(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="^OUTPUT_DIR .*/file: expected a folder"):
        output_folder(str(tmp_path / "file"), "OUTPUT_DIR")


@pytest.mark.parametrize(
    "tool, arguments",
    [
        ("predict", ["a.png", "--config-file", "a.yaml"]),
        ("compare", ["--runs", "a=b"]),
        ("annotate", ["boxes"]),
        ("analyse", ["p.json", "--annotations", "a.json"]),
        ("visualize_data", []),
        ("prepare_data", ["isaid", "--input", "a"]),
        ("prepare_data", ["foreground", "a.json"]),
        ("demo", []),
        ("plot_training", ["run"]),
        ("prompt_missed", ["--config-file", "a.yaml"]),
        ("prompt_jitter", ["--config-file", "a.yaml"]),
        ("make_table", ["a.yaml"]),
    ],
)
def test_every_tool_looks_before_its_work(run_tool, tool, arguments):
    done = run_tool(tool, *arguments, "--output", "")
    assert done.code == 2 and done.err.startswith("error: --output '': expected a ")
    assert len(done.err.splitlines()) == 1
