"""Figures of matplotlib as PNG files."""

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from insight.runtime.atomic_files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@contextlib.contextmanager
def png_figure(path: str | os.PathLike, size: tuple[float, float]) -> "Iterator[Figure]":
    """Open a figure that is written when the block ends without an error.

    Text is drawn as it is: `$` in the name of a class or a run starts no formula.

    Args:
        path: the PNG file.
        size: (width, height) in inches of 110 pixels.

    Yields:
        The empty figure.

    Raises:
        OSError: the file cannot be written.
    """
    import matplotlib  # only drawing needs it
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"text.parse_math": False}):
        figure = Figure(figsize=size, layout="constrained")
        yield figure
        with atomic_write(path, "wb") as file:
            figure.savefig(file, format="png", dpi=110)
