"""Log lines of slow training runs."""

import time

from detectron2.engine import HookBase
from detectron2.utils.events import EventWriter


class Heartbeat(HookBase):
    """Print Detectron2's metric line between its usual prints too, when those are far apart in time.

    Args:
        printer: writer of the line, such as CommonMetricPrinter.
        usual: iterations between the usual prints.
        seconds: longest time between two lines, s.
    """

    def __init__(self, printer: EventWriter, usual: int = 20, seconds: float = 30.0):
        self._printer, self._usual, self._seconds = printer, usual, seconds

    def before_train(self) -> None:
        """Start the clock."""
        self._last = time.monotonic()

    def after_step(self) -> None:
        """Print, if the last line is too old."""
        done = self.trainer.iter + 1
        if done % self._usual == 0 or done == self.trainer.max_iter:
            self._last = time.monotonic()
        elif time.monotonic() - self._last >= self._seconds:
            self._printer.write()
            self._last = time.monotonic()
