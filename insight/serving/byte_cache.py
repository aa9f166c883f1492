"""A cache that is bounded by the bytes of what it holds."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class ByteCache(Generic[T]):
    """Keeps the values that were used last. Threads may share it.

    Args:
        limit: bytes of all values together; a larger value is not kept.

    Attributes:
        bytes: of the values that are held.
        hits, misses: calls of `get` that found a value, and those that did not.
    """

    def __init__(self, limit: int):
        self.limit = limit
        self.bytes = self.hits = self.misses = 0
        self._values: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> T | None:
        """Return the value of a key, or None."""
        with self._lock:
            found = self._values.get(key)
            if found is None:
                self.misses += 1
                return None
            self.hits += 1
            self._values.move_to_end(key)
            return found[0]

    def put(self, key: Hashable, value: T, size: int) -> None:
        """Keep a value of some bytes, in place of those that were not used for the longest time."""
        with self._lock:
            before = self._values.pop(key, None)
            self.bytes -= before[1] if before is not None else 0
            if size > self.limit:
                return
            self._values[key] = (value, size)
            self.bytes += size
            while self.bytes > self.limit:
                _, (_, removed) = self._values.popitem(last=False)
                self.bytes -= removed

    def __len__(self) -> int:
        return len(self._values)
