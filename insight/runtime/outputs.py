"""Where a command writes, looked at before its work: types of --output for argparse."""

import tempfile
from pathlib import Path


def output_file(text: str, argument: str = "--output") -> Path:
    """The file that an argument names. Nothing is made yet.

    Args:
        text: its name.
        argument: the argument.

    Returns:
        The path.

    Raises:
        OSError: it is a folder, or cannot be written. Unlike a ValueError, argparse lets it pass to `reports_errors`.
    """
    if not text or Path(text).is_dir():
        raise IsADirectoryError(f"{argument} {text or repr(text)}: expected a file to write, got a folder or nothing")
    _try(Path(text).parent, f"{argument} {text}")
    return Path(text)


def output_folder(text: str, argument: str = "--output") -> Path:
    """The folder that an argument names. Nothing is made yet.

    Args:
        text: its name.
        argument: the argument, or config key.

    Returns:
        The path.

    Raises:
        OSError: it is a file, or cannot be written to. Unlike a ValueError, argparse lets it pass to `reports_errors`.
    """
    if not text:
        raise NotADirectoryError(f"{argument} '': expected a folder to write to; . is the current one")
    _try(Path(text), f"{argument} {text}")
    return Path(text)


def _try(folder: Path, argument: str) -> None:
    """Write a file without a name into a folder, or into what it would be made in."""
    present = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not present.is_dir():
        raise NotADirectoryError(f"{argument}: expected a folder, but {present} is a file")
    try:  # permissions alone do not tell, of /proc for one
        with tempfile.TemporaryFile(dir=present):
            pass
    except OSError as error:
        raise OSError(f"{argument}: cannot be written, as {present} takes no file ({error.strerror})") from None
