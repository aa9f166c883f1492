"""Locks that the operating system holds and releases when their process ends, however it ends."""

import contextlib
import os
import re
import shlex
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO

import portalocker

from .atomic_files import remove_left
from .pids import is_running

_ORPHANS_END = 30.0  # seconds in which the workers of a killed process end at the latest
_NAMED_WITHIN = 1.0  # seconds in which whoever holds a lock has written who it is


@contextlib.contextmanager
def locked(path: Path, patience: float = 0.0) -> Iterator[IO]:
    """Hold a lock while the block runs.

    Args:
        path: the lock file, made if need be; it stays. Its folder must exist.
        patience: seconds to wait for another process to release it.

    Yields:
        The open file. If this process is killed, the lock lasts as long as a child of it has the file open.

    Raises:
        BlockingIOError: another process holds it.
        OSError: it cannot be written, or its file system has no locks.
    """
    lock = portalocker.Lock(path, timeout=patience, fail_when_locked=not patience)
    try:
        file = lock.acquire()
    except portalocker.AlreadyLocked as error:
        raise BlockingIOError(f"{path}: another process holds this lock; wait until it has ended") from error
    except portalocker.LockException as error:
        raise OSError(
            f"{path}: expected a file system with locks, got: {error.strerror or error}; write to another disk"
        ) from error
    try:
        yield file
    finally:
        lock.release()


@contextlib.contextmanager
def output_folder(folder: str | os.PathLike) -> Iterator[Path]:
    """Lock an output folder for this process while the block runs, so that two runs cannot mix their files.

    Temporary files that killed processes have left in it are removed.

    Args:
        folder: made if need be. The lock is its file `.lock`, which stays and says who holds it; a block that has
            written nothing leaves neither.

    Yields:
        The folder.

    Raises:
        BlockingIOError: another process is writing there; the message says which.
        OSError: the folder cannot be written to, or its file system has no locks.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
    with contextlib.ExitStack() as stack:
        file = _lock_folder(path, stack)
        file.truncate(0)
        file.write(f"process {os.getpid()} ({shlex.join(sys.argv)}, since {datetime.now():%Y-%m-%d %H:%M})")
        file.flush()
        remove_left(folder)
        try:
            yield folder
        finally:
            if os.listdir(folder) == [path.name]:
                with contextlib.suppress(OSError):  # Windows removes no open file
                    path.unlink()
                    folder.rmdir()


def check_unlocked(folder: str | os.PathLike) -> None:
    """Check, before slow work, that no other process is writing to a folder. Nothing is created.

    Args:
        folder: that of an `output_folder` to come; it may not exist yet.

    Raises:
        BlockingIOError, OSError: as `output_folder`.
    """
    if Path(folder, ".lock").exists():
        with output_folder(folder):
            pass


def _lock_folder(path: Path, stack: contextlib.ExitStack) -> IO:
    """Hold a folder's lock until the stack is left."""
    patience = 0.0
    while True:
        try:
            file = stack.enter_context(locked(path, patience))
        except BlockingIOError as error:
            holder = _holder(path)
            if not patience and _is_gone(holder):  # killed; its workers, which share its open files, end within seconds
                patience = _ORPHANS_END
                continue
            raise BlockingIOError(
                f"{path.parent}: {holder} is writing there; wait until it has ended, or choose another folder"
            ) from error
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
            return file
        stack.close()  # a run that wrote nothing has removed it since it was opened
        path.parent.mkdir(parents=True, exist_ok=True)


def _holder(path: Path) -> str:
    """What a lock file says of its holder, who writes it just after locking."""
    end = time.monotonic() + _NAMED_WITHIN
    while time.monotonic() < end:
        with contextlib.suppress(FileNotFoundError):
            if holder := path.read_text(encoding="utf-8", errors="replace").strip():
                return holder
        time.sleep(0.01)
    return "another process"


def _is_gone(holder: str) -> bool:
    """Whether the process that a lock file names has ended."""
    found = re.match(r"process (\d+) ", holder)
    return found is not None and not is_running(int(found[1]))
