"""Work that only one process may do at a time."""

import contextlib
import fcntl
import os
import subprocess
import sys

import portalocker
import pytest

from insight.runtime.locks import check_unlocked, locked, output_folder

HOLD = """
import fcntl, sys
file = open(sys.argv[1], "a")
fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("patience", [0.0, 0.3])
def test_another_process_keeps_it(tmp_path, patience):
    path = tmp_path / "work.lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(BlockingIOError, match=f"{path}: another process holds this lock"), locked(path, patience):
            pytest.fail("entered")
        other.stdin.close()
        other.wait()
        with locked(path, patience):
            pass


def test_it_is_held_until_the_block_ends(tmp_path):
    path = tmp_path / "work.lock"
    with open(path, "a") as other:
        with pytest.raises(KeyError), locked(path):
            with pytest.raises(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            raise KeyError
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(95, os.strerror(95))

    monkeypatch.setattr(portalocker.portalocker, "LOCKER", refuse)
    message = "expected a file system with locks, got: .*Operation not supported; write to another disk"
    with pytest.raises(OSError, match=message), locked(tmp_path / "work.lock", 5.0):
        pytest.fail("entered")


def test_an_output_folder_says_who_holds_it(tmp_path):
    program = "\n".join([
        "import sys",
        "from insight.runtime.locks import output_folder",
        "with output_folder(sys.argv[1]): print(1, flush=True); sys.stdin.read()",
    ])  # fmt: skip
    command = [sys.executable, "-c", program, tmp_path / "out"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "1\n"
        message = f"out: process {other.pid} .* is writing there; wait until it has ended, or choose another folder"
        with pytest.raises(BlockingIOError, match=message), output_folder(tmp_path / "out"):
            pytest.fail("entered")
        other.kill()
    with output_folder(tmp_path / "out") as folder:
        assert folder == tmp_path / "out" and str(os.getpid()) in (folder / ".lock").read_text()


@pytest.mark.parametrize("before", ["", "process 4194305 (gone, since 2026-01-01 00:00)"])
def test_a_holder_that_has_not_said_its_name_yet_is_waited_for(tmp_path, monkeypatch, before):
    """It locks first; the file may still hold nothing, or the name of one that is gone."""
    from insight.runtime import locks

    monkeypatch.setattr(locks, "_ORPHANS_END", 0.5)
    program = "\n".join([
        "import fcntl, sys, time",
        "file = open(sys.argv[1], 'r+')",
        "fcntl.flock(file, fcntl.LOCK_EX)",
        "print(1, flush=True)",
        "time.sleep(0.2)",
        "file.truncate(0)",
        "file.write('process 1 (insight train, since today)')",
        "file.flush()",
        "sys.stdin.read()",
    ])  # fmt: skip
    path = tmp_path / ".lock"
    path.write_text(before)
    command = [sys.executable, "-c", program, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "1\n"
        message = "process 1 .insight train, since today. is writing"
        with pytest.raises(BlockingIOError, match=message), output_folder(tmp_path):
            pytest.fail("entered")
        other.kill()


def test_a_block_that_writes_nothing_leaves_no_folder(tmp_path):
    with pytest.raises(KeyError), output_folder(tmp_path / "out"):
        raise KeyError
    assert not (tmp_path / "out").exists()
    with output_folder(tmp_path / "out"):
        pass
    assert not (tmp_path / "out").exists()
    with pytest.raises(KeyError), output_folder(tmp_path / "out") as folder:
        (folder / "result").touch()
        raise KeyError
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".lock", "result"]


def test_a_check_finds_the_holder_and_creates_nothing(tmp_path):
    check_unlocked(tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with output_folder(tmp_path / "out") as folder:
        with pytest.raises(BlockingIOError, match=f"process {os.getpid()} "):
            check_unlocked(folder)
        (folder / "result").touch()
    check_unlocked(tmp_path / "out")


def test_a_lock_file_that_its_holder_removed_counts_no_longer(tmp_path, monkeypatch):
    """Opened before a failing run removed it, locked after."""
    from insight.runtime import locks

    real, removed = locks.locked, []

    def late(path, patience=0.0):
        lock = real(path, patience)
        if not removed:
            path.touch()
            stack = contextlib.ExitStack()
            file = stack.enter_context(lock)
            path.unlink()
            removed.append(file)
            return stack_of(stack, file)
        return lock

    @contextlib.contextmanager
    def stack_of(stack, file):
        with stack:
            yield file

    monkeypatch.setattr(locks, "locked", late)
    with output_folder(tmp_path / "out") as folder:
        (folder / "result").touch()
        assert removed and (folder / ".lock").is_file()
        monkeypatch.undo()
        with pytest.raises(BlockingIOError), output_folder(folder):
            pytest.fail("entered")


def test_workers_that_outlive_a_killed_process_are_waited_for(tmp_path):
    """As the data loading processes of a killed training, which share its open files, end a moment later."""
    program = "\n".join([
        "import os, sys, time",
        "from insight.runtime.locks import output_folder",
        "with output_folder(sys.argv[1]):",
        "    if os.fork() == 0: time.sleep(3); os._exit(0)",
        "    print(1, flush=True)",
        "    time.sleep(600)",
    ])  # fmt: skip
    command = [sys.executable, "-c", program, tmp_path / "out"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "1\n"
        with pytest.raises(BlockingIOError, match=f"process {other.pid} "), output_folder(tmp_path / "out"):
            pytest.fail("entered while it runs")
        other.kill()
        other.wait()
        with output_folder(tmp_path / "out") as folder:
            assert str(os.getpid()) in (folder / ".lock").read_text()
