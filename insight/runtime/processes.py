"""Work on many files in as many processes as there are cores."""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import cv2

from .following import follow
from .progress import progress


def map_in_processes(function: Callable, items: Iterable, description: str, unit: str) -> Iterator[Any]:
    """Apply a function to each item, several at a time, and show the progress.

    On Linux the processes end with this one, however it ends.

    Args:
        function: picklable; runs with one OpenCV thread.
        items: its arguments.
        description: what is being done.
        unit: name of an item, in the singular.

    Yields:
        The results, in order of the items.

    Raises:
        Whatever the function raises first, in order of the items; work that has not begun is dropped.
    """
    items = list(items)
    # Workers are forked where that is usual: a spawned one would import the caller's script anew.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
    with ProcessPoolExecutor(_workers(), context, initializer=_begin, initargs=(os.getpid(),)) as pool:
        try:
            yield from progress(pool.map(function, items), description, unit, len(items))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _begin(parent: int) -> None:
    cv2.setNumThreads(0)
    if sys.platform == "linux":
        # Not SIGTERM: workers have the tool's handler, whose SystemExit would count as the result of an item.
        follow(parent, signal.SIGKILL)


def _workers() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
