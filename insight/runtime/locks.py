"""Lock files: work that only one process may do at a time."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import portalocker


@contextlib.contextmanager
def locked(path: Path, patience: float = 0.0) -> Iterator[IO]:
    """Hold a lock while the block runs.

    Args:
        path: the lock file, made if need be; it stays. Its folder must be there.
        patience: seconds to wait for another process to let go.

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
