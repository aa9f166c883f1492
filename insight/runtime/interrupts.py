"""Interrupts that come at a bad time."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back until the block ends.

    Starting a process and dropping one run callbacks (of logging, finalizers) in which Python prints exceptions and
    goes on: Ctrl-C would be lost. A signal mask does not help, as another thread would take the signal. A process that
    is started in the block ends at SIGTERM at once.
    """
    if threading.current_thread() is not threading.main_thread():  # which alone runs handlers
        yield
        return
    arrived: list[int] = []
    holder = os.getpid()

    def hold(number, frame):
        if os.getpid() == holder:
            arrived.append(number)
        elif number == signal.SIGTERM:
            os._exit(128 + number)

    before: dict[int, Any] = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.getsignal(number) or signal.SIG_DFL
            signal.signal(number, hold)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if arrived:
            signal.raise_signal(arrived[0])
