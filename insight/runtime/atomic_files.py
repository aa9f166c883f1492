"""Writing files atomically."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .file_names import cut
from .pids import is_running

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
    temporary = _temporary(path)
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


@contextlib.contextmanager
def temporary_folder(path: str | os.PathLike) -> Iterator[Path]:
    """Make a folder beside a file, for a format whose library writes several files or needs the file's name.

    Args:
        path: the file that will be made of what is in the folder; its own folder is created if needed.

    Yields:
        The folder, `.NAME.PID.tmp`, which is removed at the end of the block.

    Raises:
        OSError: it cannot be created.
    """
    folder = _temporary(Path(path))
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_left(folder: Path, name: str = "*") -> None:
    """Remove the temporary files and folders in a folder whose processes are gone.

    Args:
        folder: the folder; no process of another machine may be writing there.
        name: only those of files of this name or pattern.
    """
    for path in folder.glob(f".{name}.*.tmp"):
        number = path.name.split(".")[-2]
        if number.isdecimal() and not is_running(int(number)):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{cut(path.name, _LONGEST_NAME)}.{os.getpid()}.tmp")
