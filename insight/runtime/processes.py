"""Work on many items in as many processes as there are cores."""

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

import cv2

from .following import follow
from .interrupts import interrupts_held
from .progress import progress

_AT_ONCE = 2  # items of a worker: while its result is taken, it does the next one
_PATIENCE = 2.0  # seconds that workers have to end by themselves; one inside of a library hears of nothing


def map_in_processes(
    function: Callable, items: Iterable, description: str, unit: str, workers: int | None = None
) -> Iterator[Any]:
    """Apply a function to each item, several at a time, and show the progress.

    The worker processes end with the iteration, even if it is interrupted (Ctrl-C, SIGTERM) or abandoned, and on Linux
    with this process, even if it is killed.

    Args:
        function: picklable; runs with one OpenCV thread.
        items: its arguments; picklable.
        description: what is being done.
        unit: name of an item, in the singular.
        workers: number of processes; None for one on each core.

    Yields:
        The results, in order of the items.

    Raises:
        Exception: the first exception of the function, in order of the items; remaining items are dropped.
        OSError: a worker process was killed, as by the system when memory runs out.
    """
    items = list(items)
    results = _results(function, items, description, workers or usable_cores())
    yield from progress(results, description, unit, len(items))


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _results(function: Callable, items: list, description: str, workers_wanted: int) -> Iterator[Any]:
    """The results in order.

    Each worker has a pipe of its own. Nothing is shared between workers: in a pool with shared queues, a process that
    is interrupted while it holds a queue's lock blocks all others for good. Workers have the items and are sent
    indices, so sending never waits for a worker, however large an item is and whatever the worker is busy with.
    """
    workers: dict[Connection, multiprocessing.Process] = {}
    at_work: dict[Connection, deque[int]] = {}  # items of each worker, in the order in which it does them
    done: dict[int, tuple[bool, Any]] = {}
    begun = failed = 0
    try:
        _start(min(workers_wanted, len(items)), function, items, workers)
        at_work |= {connection: deque() for connection in workers}
        for position in range(len(items)):
            while position not in done:
                while begun < len(items) and not failed:
                    connection = min(at_work, key=lambda each: len(at_work[each]))
                    # At the end nothing waits for a busy worker that an idle one could do.
                    if len(at_work[connection]) >= (_AT_ONCE if len(items) - begun > len(workers) else 1):
                        break
                    _send(connection, begun, workers[connection], description)
                    at_work[connection].append(begun)
                    begun += 1
                for connection in wait([each for each, own in at_work.items() if own]):
                    try:
                        outcome = pickle.loads(connection.recv_bytes())
                    except (EOFError, ConnectionResetError):
                        raise _death(workers[connection], description) from None
                    done[at_work[connection].popleft()] = outcome
                    failed |= not outcome[0]
            good, value = done.pop(position)
            if not good:
                raise value
            if position < len(items) - 1:
                yield value
    finally:
        with interrupts_held():
            _end(workers)
            # Their finalizers run here: Python drops what is raised in one, Ctrl-C too.
            connection = None  # noqa: F841
            for held in (at_work, workers):
                held.clear()
    if items:  # after the workers' end: who takes no more than the results leaves nothing to a finalizer
        yield value


def _start(count: int, function: Callable, items: list, workers: dict[Connection, multiprocessing.Process]) -> None:
    """Start workers into `workers`, by the connection to each."""
    # Fork where that is usual: a spawned worker would import the caller's script again.
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else None)
    with interrupts_held():
        for _ in range(count):
            ours, theirs = context.Pipe()
            worker = context.Process(target=_work, args=(function, items, theirs, os.getpid()), daemon=True)
            worker.start()
            theirs.close()  # so that reading from `ours` ends when the worker does
            workers[ours] = worker


def _end(workers: dict[Connection, multiprocessing.Process]) -> None:
    """End workers, so that they remove their temporary files; those that do not hear of it are killed."""
    for worker in workers.values():
        worker.terminate()
    patience = time.monotonic() + _PATIENCE
    for connection, worker in workers.items():
        worker.join(max(0.0, patience - time.monotonic()))
        worker.kill()
        worker.join()
        worker.close()
        connection.close()


def _work(function: Callable, items: list, connection: Connection, parent: int) -> None:
    """Body of a worker: answer items until it is killed or its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole process group; the parent ends its workers
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit())  # unwinds the stack
    if sys.platform == "linux":
        follow(parent, signal.SIGKILL)
    cv2.setNumThreads(0)
    with contextlib.suppress(EOFError, OSError):
        while True:
            connection.send_bytes(_outcome(function, items[connection.recv()]))


def _outcome(function: Callable, item: Any) -> bytes:
    """Pickled: whether the function succeeded, and its result or exception."""
    try:
        return pickle.dumps((True, function(item)))
    except Exception as error:
        error.add_note(f"In a worker process:\n{traceback.format_exc()}")
        try:
            pickle.loads(content := pickle.dumps((False, error)))
            return content
        except Exception:  # an exception that cannot travel
            return pickle.dumps((False, RuntimeError("".join(traceback.format_exception(error)))))


def _send(connection: Connection, index: int, worker: multiprocessing.Process, description: str) -> None:
    try:
        connection.send(index)
    except OSError:  # a broken pipe
        raise _death(worker, description) from None


def _death(worker: multiprocessing.Process, description: str) -> OSError:
    worker.join()
    return OSError(
        f"{description}: a worker process ended unexpectedly (exit code {worker.exitcode}; -9 often means that memory "
        "ran out)"
    )
