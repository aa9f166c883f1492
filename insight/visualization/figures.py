"""matplotlib figures as PNG files."""

import contextlib
import functools
import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from insight.runtime.atomic_files import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DEFAULT = "DejaVu Sans"  # comes with matplotlib
_fallbacks: dict[str, None] = {}  # families that some text of this process needs besides

_logger = logging.getLogger(__name__)


@contextlib.contextmanager
def png_figure(path: str | os.PathLike, size: tuple[float, float]) -> "Iterator[Figure]":
    """Create a figure that is written to a file when the block ends without an error.

    Text is drawn literally: `$...$` in the name of a class or run is not a formula. Pass names through `plot_text`.

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
    from matplotlib.text import Text

    with matplotlib.rc_context({"text.parse_math": False}):
        figure = Figure(figsize=size, layout="constrained")
        yield figure
        if _fallbacks:
            for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
                axis.get_ticklabels()  # makes them, to be found below
            for text in figure.findobj(Text):
                text.set_fontfamily([_DEFAULT, *_fallbacks])
        with atomic_write(path, "wb") as file:
            figure.savefig(file, format="png", dpi=110)


def plot_text(name: str) -> str:
    """Prepare a name for a legend, title or tick label.

    matplotlib omits names with a leading underscore from legends, and draws boxes for characters that its font lacks,
    such as Chinese. `png_figure` then uses an installed font that has them; without one, such characters are written
    as `\\u8239`, with a warning.

    Args:
        name: name of a class, a run or a dataset.

    Returns:
        The text to draw.
    """
    text = f"\u200b{name}" if name.startswith("_") else name  # a space without width
    missing = sorted({c for c in text if not (c.isascii() or _has_glyph(_DEFAULT, c))})
    if not missing:
        return text
    lacking = []
    for character in missing:
        family = next((f for f in _fallbacks if _has_glyph(f, character)), None) or _family_with(character)
        if family is None:
            lacking.append(character)
        else:
            _fallbacks[family] = None
    if lacking:
        _warn_once()
    return "".join(c.encode("ascii", "backslashreplace").decode() if c in lacking else c for c in text)


@functools.cache
def _warn_once() -> None:
    _logger.warning(
        "plots: no installed font has all characters of the names; they are written as codes. Install one, such as "
        "fonts-noto-cjk"
    )


@functools.cache
def _charmap(path: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(path).get_charmap())
    except (OSError, RuntimeError):  # a font that cannot be read
        return frozenset()


@functools.cache
def _has_glyph(family: str, character: str) -> bool:
    from matplotlib.font_manager import FontProperties, findfont

    return ord(character) in _charmap(findfont(FontProperties(family=[family])))


@functools.cache
def _family_with(character: str) -> str | None:
    """An installed font family with a character, of upright and regular fonts."""
    from matplotlib.font_manager import fontManager

    fonts = sorted(
        (f.name, f.fname)
        for f in fontManager.ttflist
        # "Last Resort" has a box for every character.
        if f.style == "normal" and f.weight in (400, "normal") and not f.name.startswith("Last Resort")
    )
    return next((name for name, path in fonts if ord(character) in _charmap(path)), None)
