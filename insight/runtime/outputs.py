"""Checks, before any work is done, that results can be written."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from insight.errors import InputError


def check_output_file(path: str | os.PathLike, argument: str = "output", suffixes: Sequence[str] = ()) -> Path:
    """Check that a file can be written. Nothing is created.

    Args:
        path: the file.
        argument: name of the argument or config key, for the error.
        suffixes: those that the file may have, in lower case; empty for any.

    Returns:
        The path.

    Raises:
        InputError: the path is empty or a folder, or has another suffix.
        OSError: the file cannot be written.
    """
    if not os.fspath(path):
        raise InputError(f"{argument}: expected the name of a file to write, got nothing")
    if Path(path).is_dir():
        raise InputError(f"{argument}: expected a file to write, but {path} is a folder")
    if suffixes and Path(path).suffix.lower() not in suffixes:
        raise InputError(f"{argument}: expected a file name that ends in {_either(suffixes)}, got {path}")
    _require_writable(Path(path).parent, argument)
    return Path(path)


def check_output_folder(path: str | os.PathLike, argument: str = "output", or_files: Sequence[str] = ()) -> Path:
    """Check that files can be written to a folder, which may not exist yet. Nothing is created.

    Args:
        path: the folder.
        argument: name of the argument or config key, for the error.
        or_files: suffixes of the files that the argument may name instead of a folder. With them, a new name that looks
            like that of a file, as found.txt does, is refused: it is a mistake rather than a folder.

    Returns:
        The path.

    Raises:
        InputError: the path is empty, a file or, with `or_files`, the name of another file.
        OSError: the folder cannot be written to.
    """
    if not os.fspath(path):
        raise InputError(f"{argument}: expected the name of a folder, got nothing; . is the current folder")
    if or_files and Path(path).suffix[1:].isalpha() and not Path(path).is_dir():
        raise InputError(f"{argument}: expected a folder, or a file name that ends in {_either(or_files)}, got {path}")
    _require_writable(Path(path), argument)
    return Path(path)


def _either(names: Sequence[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


def _require_writable(folder: Path, argument: str) -> None:
    present = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not present.is_dir():
        raise InputError(f"{argument}: expected {folder} to be a folder, but {present} is a file")
    try:  # permissions alone do not tell, for example in /proc
        with tempfile.TemporaryFile(dir=present):
            pass
    except OSError as error:
        raise OSError(f"{argument}: cannot write to {folder}: {present} takes no file ({error.strerror})") from None
