"""How often somebody may ask, in the notation and by the windows of the library `limits`.

What enters: who asks. What leaves: nothing, or a refusal with a time. This module does not know how
they are told apart. It is imported only where there is a limit: the library takes a fifth of a
second.
"""

import time
from collections import OrderedDict
from math import ceil
from typing import Final

from limits import parse_many
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter

from app.errors import RateLimited

MAX_COUNTERS: Final = 100_000


class BoundedMemoryStorage(Storage):
    """Counters in memory, of which there is a most: the oldest give way.

    The library's own have no most, and start a thread every ten milliseconds that looks at all of
    them, which with many addresses would keep predictions waiting.
    """

    STORAGE_SCHEME = ["mynet"]  # noqa: RUF012
    base_exceptions = ()

    def __init__(self, max_counters: int = MAX_COUNTERS) -> None:
        super().__init__()
        self.max_counters = max_counters
        self._counts: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        count, expires_at = self._counts.get(key, (0, 0.0))
        if expires_at <= time.monotonic():
            self._counts.pop(key, None)
            count, expires_at = 0, time.monotonic() + expiry
            while len(self._counts) >= self.max_counters:
                self._counts.popitem(last=False)
        self._counts[key] = count + amount, expires_at
        return count + amount

    def get(self, key: str) -> int:
        count, expires_at = self._counts.get(key, (0, 0.0))
        return count if expires_at > time.monotonic() else 0

    def get_expiry(self, key: str) -> float:
        return self._counts.get(key, (0, time.monotonic()))[1]

    def check(self) -> bool:
        return True

    def reset(self) -> int:
        number = len(self._counts)
        self._counts.clear()
        return number

    def clear(self, key: str) -> None:
        self._counts.pop(key, None)


class RateLimiter:
    """Counts requests, for each limit in a window that begins with the first of them."""

    def __init__(self, notation: str, storage: BoundedMemoryStorage | None = None) -> None:
        self._limits = sorted(parse_many(notation))
        self._limiter = FixedWindowRateLimiter(storage or BoundedMemoryStorage())

    def hit(self, identifier: str) -> None:
        """Count a request. Raises RateLimited."""
        for limit in self._limits:
            if not self._limiter.hit(limit, identifier):
                free_at = self._limiter.get_window_stats(limit, identifier).reset_time
                raise RateLimited(
                    f"More requests came from you than {limit}.",
                    retry_after=max(1, ceil(free_at - time.monotonic())),
                )
