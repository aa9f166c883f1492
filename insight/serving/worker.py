"""The one thread that computes, with a bounded queue in front of it."""

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from .refusal import Refusal

_logger = logging.getLogger(__name__)
_TOGETHER = 64  # requests that are answered at once


class _Job:
    def __init__(self, key: Hashable, work: Callable[[list], Sequence], payload: Any, future: asyncio.Future):
        self.key, self.work, self.payload, self.future = key, work, payload, future
        self.loop = future.get_loop()
        self.asked = time.monotonic()

    def settle(self, result: Any) -> None:
        """Give a result, or an exception, to the request; it may have gone."""

        def give() -> None:
            if self.future.done():
                return
            if isinstance(result, BaseException):
                self.future.set_exception(result)
            else:
                self.future.set_result(result)

        with contextlib.suppress(RuntimeError):  # the loop has ended
            self.loop.call_soon_threadsafe(give)


class Worker:
    """Runs work in a thread of its own, in the order in which it was asked for; what has the same key runs together.

    Args:
        limit: requests that may wait.
        seconds: how long a request waits for its answer.
        on_batch: called with the number of requests of each batch, and the seconds that it took.
    """

    def __init__(self, limit: int, seconds: float, on_batch: Callable[[int, float], None] | None = None):
        self.limit, self.seconds, self._on_batch = limit, seconds, on_batch
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="insight-model", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._jobs)

    def require_room(self) -> None:
        """Check that a request would be taken.

        Raises:
            Refusal: the queue is full, or the server is stopping.
        """
        if self._stopping:
            raise Refusal(503, "the server is stopping")
        if len(self._jobs) >= self.limit:
            raise Refusal(503, f"{self.limit} requests are waiting already; try again")

    async def run(self, key: Hashable, work: Callable[[list], Sequence], payload: Any) -> Any:
        """Do some work in the thread.

        Args:
            key: requests of the same key that wait are done together; they have the same `work`.
            work: from payloads to their results, each of which may be an exception.
            payload: of this request.

        Returns:
            Its result.

        Raises:
            Refusal: there is no room, or it took too long.
        """
        self.require_room()
        job = _Job(key, work, payload, asyncio.get_running_loop().create_future())
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()
        try:
            return await asyncio.wait_for(job.future, self.seconds)
        except TimeoutError:
            raise Refusal(503, f"no answer within {self.seconds:g} seconds; try again, with fewer prompts") from None
        finally:  # also when the client has hung up
            with self._changed:
                if job in self._jobs:
                    self._jobs.remove(job)

    def stop(self) -> None:
        """Finish what waits, take no more, and end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._jobs and not self._stopping:
                    self._changed.wait()
                if not self._jobs:
                    return
                first = self._jobs.popleft()
                batch = [first]
                for job in [job for job in self._jobs if job.key == first.key][: _TOGETHER - 1]:
                    self._jobs.remove(job)
                    batch.append(job)
            batch = [job for job in batch if not job.future.done()]
            if not batch:
                continue
            start = time.monotonic()
            try:
                results: Sequence = first.work([job.payload for job in batch])
            except Exception as error:
                results = [error] * len(batch)
            for job, result in zip(batch, results):
                job.settle(result)
            if self._on_batch is not None:
                self._on_batch(len(batch), time.monotonic() - start)
            del first, batch, results, job, result  # a waiting thread keeps no image alive
