"""Engines: one process that reads, computes and writes at once, several processes, or a Ray cluster.

All do the same jobs and hand their results to one process, which keeps them; so all give the same result.
"""

import contextlib
import json
import queue
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from insight.errors import InputError, MissingDependencyError
from insight.runtime.processes import map_in_processes
from insight.runtime.progress import Progress

from .work import Results, Work

ENGINES = ("local", "ray")
_READ_AHEAD, _KEPT_BACK = 2, 4  # jobs read but not computed, and computed but not kept: they bound the memory
_POLL = 0.1  # seconds after which a thread that waits looks whether the work has stopped
_ATTEMPTS = 3  # to restart an actor of Ray that died, and to repeat its job


def check_engine(engine: str, workers: int) -> None:
    """Validate the choice of an engine.

    Args:
        engine: "local" or "ray".
        workers: number of processes.

    Raises:
        InputError: an unknown engine, or less than one worker.
        MissingDependencyError: Ray is not installed.
    """
    if engine not in ENGINES:
        raise InputError(f"engine: expected {' or '.join(ENGINES)}, got {engine!r}")
    if workers < 1:
        raise InputError(f"workers: expected at least 1, got {workers}")
    if engine == "ray":
        try:
            import ray.data  # noqa: F401
        except ImportError as error:
            raise MissingDependencyError(
                f"engine: Ray is not installed ({error}); run `pip install insight-seg[ray]`"
            ) from error


def run_jobs(work: Work, results: Results, engine: str = "local", workers: int = 1, address: str | None = None) -> None:
    """Do the jobs that have no result yet, and show the progress.

    Args:
        work: the jobs.
        results: gets their results, in any order.
        engine: "local" for this process, or several if `workers` is above 1; "ray" for a cluster.
        workers: number of processes that hold the model.
        address: of the Ray cluster, such as "auto"; None to start one on this machine, unless Ray is initialised.

    Raises:
        OSError: the raster cannot be read, or a worker process was killed.
    """
    keys = [key for key in work.keys if key not in results]
    if not keys:
        return
    if engine == "ray":
        _run_on_ray(work, keys, results, workers, address)
    elif workers > 1:
        for key, result in map_in_processes(partial(do_job, work), keys, "Predicting", work.unit, workers):
            results.add(key, result)
    else:
        _run_here(work, keys, results)


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


def _run_on_ray(work: Work, keys: Sequence[str], results: Results, workers: int, address: str | None) -> None:
    import ray
    import ray.data

    own = not ray.is_initialized()
    if own:
        # One core more than actors, for Ray Data's own tasks.
        size = {"num_cpus": workers + 1, "include_dashboard": False} if address is None else {"address": address}
        ray.init(**size, log_to_driver=False, configure_logging=False)
    try:
        cores = int(ray.cluster_resources().get("CPU", 0))
        if cores <= workers:
            raise InputError(f"workers: expected fewer than the {cores} cores of the Ray cluster, got {workers}")
        shared = ray.put(work)  # once, however many actors read it

        class Worker:
            """An actor that holds the model."""

            def __init__(self) -> None:
                self._work = ray.get(shared)

            def __call__(self, batch: dict) -> dict:
                done = [do_job(self._work, str(key)) for key in batch["key"]]
                return {"key": [key for key, _ in done], "result": [json.dumps(result) for _, result in done]}

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        data = ray.data.from_items([{"key": key} for key in keys]).repartition(len(keys))
        data = data.map_batches(
            Worker,
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=1,
            max_restarts=_ATTEMPTS,
            max_task_retries=_ATTEMPTS,
        )
        with Progress(len(work.keys), "Predicting", work.unit) as shown:
            shown.skip(len(work.keys) - len(keys))
            for row in data.iter_rows():
                results.add(str(row["key"]), json.loads(row["result"]))
                shown.update()
    finally:
        if own:
            ray.shutdown()
