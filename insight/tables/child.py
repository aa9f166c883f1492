"""Commands that end with the process that started them, however it ends."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

PATIENCE = 30.0  # seconds that a command has to end by itself

# A program that the command replaces. It ends with this process; -I keeps its folder, the package's, out of sys.path.
_FOLLOW = ["-I", str(Path(__file__).resolve().parents[1] / "runtime" / "following.py")]


@contextlib.contextmanager
def child(command: Sequence[str], log: Path, keep_open: Sequence[int] = ()) -> Iterator[subprocess.Popen]:
    """Start a command; when the block is left, it has ended, and so have the processes that it started.

    Args:
        command: program, by its path, and arguments.
        log: gets what it prints.
        keep_open: file descriptors that it inherits, such as those of locks that hold until it has ended.

    Yields:
        The process.
    """
    if sys.platform == "linux":
        command = [sys.executable, *_FOLLOW, str(os.getpid()), *command]
    groups = hasattr(os, "killpg")
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "w", encoding="utf-8") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=groups,  # Ctrl-C is for this process, which ends the command in its own way
            pass_fds=tuple(keep_open) if groups else (),
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE)
        if groups:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
