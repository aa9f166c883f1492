"""Engines: one process that reads, computes and writes at once, several processes, or a Ray cluster.

All do the same jobs and hand their results to one process, which keeps them; so all give the same result.
"""

import contextlib
import queue
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch

from insight.errors import InputError, MissingDependencyError
from insight.runtime.processes import map_in_processes
from insight.runtime.progress import Progress

from .raster import bounded_cache
from .ray_engine import RayEngine, ray_engine
from .work import Results, Work

Engine = Callable[[Work, Results], None]
ENGINES = ("local", "ray")
_READ_AHEAD, _KEPT_BACK = 2, 4  # jobs read but not computed, and computed but not kept: they bound the memory
_PATIENCE = 5  # seconds for an address to answer
_POLL = 0.1  # seconds after which a thread that waits looks whether the work has stopped


def check_engine(engine: str, workers: int, address: str | None = None) -> None:
    """Validate the choice of an engine.

    Args:
        engine: "local" or "ray".
        workers: number of processes.
        address: of a Ray cluster.

    Raises:
        InputError: an unknown engine, less than one worker, or an address that the engine does not take.
        MissingDependencyError: Ray is not installed.
        OSError: nothing answers at the address.
    """
    if engine not in ENGINES:
        raise InputError(f"engine: expected {' or '.join(ENGINES)}, got {engine!r}")
    if workers < 1:
        raise InputError(f"workers: expected at least 1, got {workers}")
    if address is not None and engine != "ray":
        raise InputError(f"address: is of a Ray cluster; expected the engine ray with it, got {engine}")
    if engine == "ray":
        try:
            import ray  # noqa: F401
        except ImportError as error:
            raise MissingDependencyError(
                f"engine: Ray is not installed ({error}); run `pip install 'insight-seg[ray]'`"
            ) from error
        _require_answer(address or "")


def _require_answer(address: str) -> None:
    """Check, before slow work, that something answers at HOST:PORT; other addresses are Ray's to resolve."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), _PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise OSError(f"address: no Ray cluster at {address}: {error}") from error


@contextlib.contextmanager
def open_engine(
    name: str = "local", workers: int = 1, address: str | None = None, on_gpu: bool = False
) -> Iterator[Engine]:
    """Start what does the jobs of scenes, one scene after the other, and end it when the block ends.

    Args:
        name: "local" for this process, or several if `workers` is above 1; "ray" for a cluster.
        workers: number of processes that hold the model.
        address: of the Ray cluster, such as "auto"; None to start one on this machine, unless Ray is initialised.
        on_gpu: whether the model is on a GPU.

    Yields:
        Function of the jobs of a scene and their results so far: does those that have no result yet, in any order, and
        shows the progress. It raises OSError if the raster cannot be read or a worker process was killed.

    Raises:
        OSError: there is no Ray cluster at the address.
        InputError, MissingDependencyError: as `check_engine`; or several local workers on a GPU.
    """
    check_engine(name, workers, address)
    if name == "ray":
        with ray_engine(workers, address, on_gpu) as engine:
            yield partial(_run_on_ray, engine)
        return
    if workers > 1 and on_gpu:
        raise InputError(f"workers: expected 1 for a model on a GPU, which processes cannot share so, got {workers}")
    with bounded_cache():
        yield partial(_run_locally, workers)


def _run_locally(workers: int, work: Work, results: Results) -> None:
    keys = [key for key in work.keys if key not in results]
    if workers > 1:
        for key, result in map_in_processes(partial(do_job, work), keys, "Predicting", work.unit, workers):
            results.add(key, result)
    elif keys:
        _run_here(work, keys, results)


def _run_on_ray(engine: RayEngine, work: Work, results: Results) -> None:
    keys = [key for key in work.keys if key not in results]
    with Progress(len(work.keys), "Predicting", work.unit) as shown:
        shown.skip(len(work.keys) - len(keys))
        engine.run(work, results, keys, shown)


def do_job(work: Work, key: str) -> tuple[str, Any]:
    """Do one job, in one thread, as a worker does; its name and result."""
    if torch.get_num_threads() > 1:  # workers share the cores
        torch.set_num_threads(1)
    return key, work.pack(key, work.answer(key, work.read(key)))


def _run_here(work: Work, keys: Sequence[str], results: Results) -> None:
    """Read in one thread, compute in this one, and pack and keep in a third, which is left to finish in any case."""
    pixels: queue.Queue = queue.Queue(_READ_AHEAD)
    answers: queue.Queue = queue.Queue(_KEPT_BACK)
    failures: list[BaseException] = []
    stopped = threading.Event()
    with Progress(len(work.keys), "Predicting", work.unit) as shown:
        shown.skip(len(work.keys) - len(keys))

        def read() -> None:
            for key in keys:
                if not _put(pixels, (key, work.read(key)), stopped):
                    return

        def keep() -> None:
            while (item := answers.get()) is not None:
                results.add(item[0], work.pack(*item))
                shown.update()

        reader, keeper = (threading.Thread(target=_guarded, args=(t, failures, stopped)) for t in (read, keep))
        reader.start()
        keeper.start()
        try:
            for _ in keys:
                item = _get(pixels, stopped)
                if item is None or not _put(answers, (item[0], work.answer(*item)), stopped):
                    break
        finally:
            stopped.set()
            while keeper.is_alive():
                with contextlib.suppress(queue.Full):
                    answers.put(None, timeout=_POLL)
                    break
            for thread in (reader, keeper):
                thread.join()
    if failures:
        raise failures[0]


def _guarded(task: Callable[[], None], failures: list[BaseException], stopped: threading.Event) -> None:
    try:
        task()
    except BaseException as error:  # raised again by the thread that computes
        failures.append(error)
        stopped.set()


def _put(items: queue.Queue, item: Any, stopped: threading.Event) -> bool:
    while not stopped.is_set():
        try:
            items.put(item, timeout=_POLL)
            return True
        except queue.Full:
            continue
    return False


def _get(items: queue.Queue, stopped: threading.Event) -> Any:
    """The next item; None if the work has stopped."""
    while not stopped.is_set():
        try:
            return items.get(timeout=_POLL)
        except queue.Empty:
            continue
    return None
