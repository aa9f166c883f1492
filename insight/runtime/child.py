"""Child processes that end with the process that started them, even if it is killed."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from .interrupts import interrupts_held

PATIENCE = 30.0  # seconds that a command gets to end after SIGTERM

# A program that has itself killed with this process and then becomes the command. -I keeps its folder out of sys.path.
_FOLLOW = ["-I", str(Path(__file__).resolve().with_name("following.py"))]


@contextlib.contextmanager
def child(command: Sequence[str], log: Path, keep_open: Sequence[int] = ()) -> Iterator[subprocess.Popen]:
    """Run a command during the block; when the block ends, the command and all its processes are ended.

    Args:
        command: path of a program, and arguments.
        log: file for its output.
        keep_open: file descriptors that it inherits, such as those of locks to hold until it has ended.

    Yields:
        The process.
    """
    if sys.platform == "linux":
        command = [sys.executable, *_FOLLOW, str(os.getpid()), *command]
    groups = hasattr(os, "killpg")
    log.parent.mkdir(parents=True, exist_ok=True)
    process = None
    try:
        # An interrupt while it starts would leave it running, with nobody to end the processes that it has started.
        with open(log, "w", encoding="utf-8") as file, interrupts_held():
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=groups,  # Ctrl-C goes to this process alone, which then ends the command
                pass_fds=tuple(keep_open) if groups else (),
            )
        yield process
    finally:
        if process is not None:
            _end(process)


def _end(process: subprocess.Popen) -> None:
    """End a process and those that it has started."""
    if process.poll() is None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
