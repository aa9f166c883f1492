"""A Ray cluster as an engine: actors that hold the model once each, and a driver that keeps what they find."""

import logging
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from insight.runtime.progress import Progress

from .raster import bounded_cache
from .work import Results, Work

_AT_ONCE = 2  # jobs of an actor: the next one is read while one is computed; they bound what is in flight
_DEATHS = 3  # of workers, from which a job counts as their cause
_PATIENCE = 60.0  # seconds without any news after which a cluster without room is warned of

_logger = logging.getLogger(__name__)


class RayEngine:
    """Does the jobs of scenes on the actors of a cluster, which live as long as the engine.

    Names of jobs go out and results come back, nothing else: pixels are read where they are needed. Actors for which
    the cluster has no room begin when a node has joined it; one that dies is replaced, and its jobs are repeated.

    Args:
        workers: number of actors.
        on_gpu: whether each needs a GPU; else it needs a core.
    """

    def __init__(self, workers: int, on_gpu: bool):
        import ray

        self._workers = workers
        resources = {"num_cpus": 0, "num_gpus": 1} if on_gpu else {"num_cpus": 1}
        self._class = ray.remote(_Worker).options(max_concurrency=_AT_ONCE, **resources)
        self._actors: list[Any] = []
        self._waiting: dict[Any, Any] = {}  # what tells that an actor has begun -> the actor
        self._free: list[Any] = []  # actors, once for every job that they can take
        self._failed_starts = 0

    def run(self, work: Work, results: Results, keys: Sequence[str], shown: Progress) -> None:
        """Do jobs and add their results, in any order.

        Args:
            work: the scene.
            results: gets the results.
            keys: names of the jobs.
            shown: updated with every result.

        Raises:
            OSError: what a job raised, or a job at which several workers have died.
        """
        try:
            self._run(work, results, deque(keys), shown)
        except BaseException:
            self.close()  # with all that is still under way
            raise

    def close(self) -> None:
        """End the actors."""
        import ray

        for actor in self._actors:
            ray.kill(actor)
        self._actors, self._waiting, self._free = [], {}, []

    def _run(self, work: Work, results: Results, keys: deque[str], shown: Progress) -> None:
        import ray

        scene, deaths = ray.put(work), Counter[str]()
        running: dict[Any, tuple[Any, str]] = {}
        while keys or running:
            self._start_missing()
            while keys and self._free:
                actor, key = self._free.pop(0), keys.popleft()
                running[actor.do.remote([scene], key)] = actor, key  # in a list, or Ray would send the scene each time
            news, _ = ray.wait([*running, *self._waiting], timeout=_PATIENCE)
            if not news and not running:
                _logger.warning(f"Ray: {len(self._waiting)} workers wait for room on the cluster")
            for item in news:
                if item in self._waiting:
                    self._begin(item)
                    continue
                actor, key = running.pop(item)
                try:
                    name, result = ray.get(item)
                except ray.exceptions.RayTaskError as error:
                    raise error.cause if isinstance(error.cause, Exception) else OSError(_last_line(error)) from None
                except ray.exceptions.RayActorError:
                    self._forget(actor)
                    keys.appendleft(key)
                    deaths[key] += 1
                    if deaths[key] >= _DEATHS:
                        raise OSError(
                            f"{work.raster.path}: {_DEATHS} workers of Ray died at {work.unit} {key}; often their "
                            "memory runs out: use smaller tiles or fewer workers on a node"
                        ) from None
                    continue
                self._free.append(actor)
                results.add(name, result)
                shown.update()

    def _start_missing(self) -> None:
        while len(self._actors) < self._workers:
            actor = self._class.remote()
            self._actors.append(actor)
            self._waiting[actor.has_begun.remote()] = actor

    def _begin(self, item: Any) -> None:
        """Give work to an actor that has begun, or replace one that could not."""
        import ray

        actor = self._waiting.pop(item)
        try:
            ray.get(item)
        except ray.exceptions.RayError as error:
            self._forget(actor)
            self._failed_starts += 1
            if self._failed_starts >= _DEATHS:
                raise OSError(f"a worker of Ray cannot start: {_last_line(error)}") from None
            return
        self._failed_starts = 0
        self._free += [actor] * _AT_ONCE

    def _forget(self, actor: Any) -> None:
        if actor in self._actors:
            self._actors.remove(actor)
        self._free = [other for other in self._free if other != actor]


class _Worker:
    """An actor. Two threads do its jobs: one may read or pack while the other has the model."""

    def __init__(self) -> None:
        self._opening, self._reading, self._computing = (threading.Lock() for _ in range(3))
        self._bounds = ExitStack()
        self._bounds.enter_context(bounded_cache())
        self._scene: Any = None
        self._work: Any = None

    def has_begun(self) -> None:
        """Answer as soon as the actor has a place."""

    def do(self, scene: list[Any], key: str) -> tuple[str, Any]:
        """Do a job; its name and result."""
        import ray

        if torch.get_num_threads() > 1:  # of this thread; workers share the cores
            torch.set_num_threads(1)
        with self._opening:
            if self._scene != scene[0]:
                self._scene, self._work = scene[0], ray.get(scene[0])
            work = self._work
        with self._reading:
            pixels = work.read(key)
        with self._computing:
            answer = work.answer(key, pixels)
        return key, work.pack(key, answer)


@contextmanager
def ray_engine(workers: int, address: str | None, on_gpu: bool) -> Iterator[RayEngine]:
    """Connect to a cluster, or start one on this machine; end what was started when the block ends.

    Args:
        workers: number of actors.
        address: of the cluster, such as "auto"; None to start one on this machine, unless Ray is initialised.
        on_gpu: whether each actor needs a GPU.

    Yields:
        The engine.

    Raises:
        OSError: there is no cluster at the address.
    """
    import ray

    own = not ray.is_initialized()
    if own:
        size = {"num_cpus": workers, "include_dashboard": False} if address is None else {"address": address}
        try:
            ray.init(**size, log_to_driver=False, configure_logging=False)
        except (ConnectionError, ValueError) as error:
            raise OSError(f"address: no Ray cluster at {address}: {' '.join(str(error).split())}") from error
    engine = RayEngine(workers, on_gpu)
    try:
        yield engine
    finally:
        engine.close()
        if own:
            ray.shutdown()


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
