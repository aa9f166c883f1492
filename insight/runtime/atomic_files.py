"""Writing files atomically."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .file_names import cut

_LONGEST_NAME = 230  # bytes; file systems take 255, and the temporary name is longer than the name


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike, mode: str = "w") -> Iterator[IO]:
    """Open a file for writing that appears under its name only when it is complete and on disk.

    The text or bytes go to `.NAME.PID.tmp` beside it (a long name is cut), which replaces `path` when the block ends
    without an error and is removed when it does not. A killed process leaves the old file, if there was one, and
    perhaps a `.tmp`.

    Args:
        path: the file to write; its folder is created if needed.
        mode: "w" for text (UTF-8 with surrogateescape, for file names of other encodings) or "wb" for bytes.

    Yields:
        The open file.

    Raises:
        OSError: the file cannot be written; the error names it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{cut(path.name, _LONGEST_NAME)}.{os.getpid()}.tmp")
    try:
        text = {} if "b" in mode else {"encoding": "utf-8", "errors": "surrogateescape"}
        with open(temporary, mode, **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is not None and error.filename is None:  # as those of write and fsync are
            error.filename = os.fspath(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def remove_left(folder: Path) -> None:
    """Remove the temporary files in a folder whose processes are gone.

    Args:
        folder: the folder; no process of another machine may be writing there.
    """
    for path in folder.glob(".*.tmp"):
        number = path.name.split(".")[-2]
        if number.isdecimal() and not _is_running(int(number)):
            path.unlink(missing_ok=True)


def _is_running(number: int) -> bool:
    if sys.platform == "win32":  # where 0 is no harmless signal
        return True
    try:
        os.kill(number, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        pass
    return True
