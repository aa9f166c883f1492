import errno
import os
import subprocess
import sys

import pytest

from insight.cli.reporting import one_line
from insight.runtime.atomic_files import atomic_write, remove_left, temporary_folder


def test_the_name_appears_only_when_all_is_written(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with atomic_write(path) as file:
        file.write("ä")
        assert not path.exists()
    assert path.read_text(encoding="utf-8") == "ä"
    assert [p.name for p in path.parent.iterdir()] == ["a.txt"]


def test_an_error_keeps_the_old_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="half way"), atomic_write(path, "wb") as file:
        file.write(b"new")
        raise RuntimeError("half way")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_a_killed_process_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    code = f"""
import os, signal
from insight.runtime.atomic_files import atomic_write, remove_left
with atomic_write({str(path)!r}, "wb") as file:
    file.write(b"n" * 1000000)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    assert path.read_bytes() == b"old"


def test_an_error_of_writing_names_the_file(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError) as caught, atomic_write(tmp_path / "a.txt") as file:
        file.write("a")
    assert one_line(caught.value) == f"{tmp_path / 'a.txt'}: No space left on device"
    assert not list(tmp_path.iterdir())


def test_what_killed_processes_left_is_removed(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left, kept = tmp_path / f".a.json.{gone.pid}.tmp", [f".a.json.{os.getpid()}.tmp", ".x.tmp", f"a.{gone.pid}.tmp"]
    for path in (left, *(tmp_path / name for name in kept)):
        path.touch()
    remove_left(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)


def test_a_temporary_folder_is_gone_after_the_block_and_after_a_kill(tmp_path):
    with pytest.raises(RuntimeError), temporary_folder(tmp_path / "new" / "a.gpkg") as folder:
        (folder / "a.gpkg").touch()
        raise RuntimeError
    assert not list((tmp_path / "new").iterdir())
    script = f"""
import os
from insight.runtime.atomic_files import temporary_folder
with temporary_folder({str(tmp_path / "a.gpkg")!r}) as a, temporary_folder({str(tmp_path / "b.gpkg")!r}) as b:
    (a / "part").touch()
    (b / "part").touch()
    os._exit(1)
"""
    subprocess.run([sys.executable, "-c", script])
    assert len([path for path in tmp_path.iterdir() if path.name.endswith(".tmp")]) == 2
    remove_left(tmp_path, "b.gpkg")
    assert [path.name[:7] for path in tmp_path.iterdir() if path.name != "new"] == [".a.gpkg"]
    remove_left(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
