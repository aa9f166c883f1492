"""Progress of long work: a bar on a terminal, occasional log lines elsewhere."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from tqdm import tqdm

from .words import plural

_T = TypeVar("_T")
_SHARE = 0.1  # a log line for every tenth of the work ...
_SHORTEST, _LONGEST = 30.0, 600.0  # ... but no more often and, while it advances, no more rarely than this, seconds

_logger = logging.getLogger(__name__)


class Progress:
    """Progress of a piece of work, as a context manager.

    If standard error is a terminal, it shows a bar there. Otherwise it logs a line at level INFO for every tenth of the
    work, at most one every 30 seconds, so that logs stay short and quick work stays silent.

    Args:
        total: number of units.
        description: what is being done.
        unit: name of one unit, in the singular.
    """

    def __init__(self, total: int, description: str = "", unit: str = "item"):
        self.total, self.done, self.skipped = total, 0, 0
        self._description, self._units = description, plural(unit)
        self._start = self._last = time.monotonic()
        self._logged = 0
        # Without smoothing, since units may be reported many at a time.
        self._bar = tqdm(total=total, desc=description, unit=unit, smoothing=0) if sys.stderr.isatty() else None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_) -> None:
        if self._bar is not None:
            self._bar.close()

    def update(self, count: int = 1) -> None:
        """Count units as done."""
        self.done += count
        if self._bar is not None:
            self._bar.update(count)
        else:
            self._log()

    def skip(self, count: int) -> None:
        """Count units that an earlier run has done, which do not count towards the speed."""
        self.done += count
        self.skipped += count
        if self._bar is not None:
            self._bar.n += count
            self._bar.initial += count
            self._bar.refresh()

    def describe(self, description: str) -> None:
        """Change the description."""
        self._description = description
        if self._bar is not None:
            self._bar.set_description(description)

    def refresh(self) -> None:
        """Redraw the bar, whose times change even when no unit is done."""
        if self._bar is not None:
            self._bar.refresh()

    def write(self, line: str) -> None:
        """Print a line to standard error without damaging the bar."""
        tqdm.write(line, file=sys.stderr)

    def _log(self) -> None:
        now = time.monotonic()
        silence, advanced = now - self._last, self.done - self._logged
        if silence < _SHORTEST or (advanced < _SHARE * self.total and silence < _LONGEST and self.done < self.total):
            return
        self._last, self._logged = now, self.done
        text = f"{self._description}: {self.done} of {self.total} {self._units} ({100 * self.done / self.total:.0f} %)"
        if self.done < self.total:
            left = (now - self._start) / max(1, self.done - self.skipped) * (self.total - self.done)
            text += f", about {tqdm.format_interval(left)} left"
        _logger.info(text)


def progress(items: Iterable[_T], description: str, unit: str = "item", total: int | None = None) -> Iterator[_T]:
    """Iterate over items and show the progress.

    Args:
        items: the items.
        description: what is being done.
        unit: name of an item, in the singular.
        total: number of items; needed if `items` has no length.

    Yields:
        The items.
    """
    if total is None:
        assert isinstance(items, Sized)
        total = len(items)
    with Progress(total, description, unit) as shown:
        for item in items:
            yield item
            shown.update()
