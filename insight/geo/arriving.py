"""Results that one thread waits for while others add them, so that writing overlaps with computing."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .work import Results


class Stopped(Exception):
    """The results that a thread waits for will not come."""


class Arriving:
    """Results of jobs; reading one waits until it is there.

    Args:
        results: where they are kept.
    """

    def __init__(self, results: Results):
        self._results = results
        self._changed = threading.Condition()
        self._stopped = False
        self._failure: BaseException | None = None

    def __contains__(self, key: str) -> bool:
        with self._changed:
            return key in self._results

    def __getitem__(self, key: str) -> Any:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or key in self._results)
            if key not in self._results:
                raise Stopped
            return self._results[key]

    def add(self, key: str, result: Any) -> None:
        """Add the result of a job; raises the error of the thread that uses them, if it has ended with one."""
        with self._changed:
            if self._failure is not None:
                raise self._failure
            self._results.add(key, result)
            self._changed.notify_all()

    @contextmanager
    def used_by(self, task: Callable[[], None]) -> Iterator[None]:
        """Run a task that uses the results in a thread, while the block adds them; then wait for its end.

        Args:
            task: what to run.

        Raises:
            Exception: what the task raised.
        """
        thread = threading.Thread(target=self._guarded, args=(task,))
        thread.start()
        try:
            yield
        except BaseException:
            with self._changed:
                self._stopped = True
                self._changed.notify_all()
            raise
        finally:
            thread.join()
        if self._failure is not None:
            raise self._failure

    def _guarded(self, task: Callable[[], None]) -> None:
        try:
            task()
        except Stopped:
            pass
        except BaseException as error:  # raised again by the thread that adds results
            with self._changed:
                self._failure = error
