"""Rate limiting with the notation and the fixed windows of the library `limits`.

This module is imported only if a rate limit is set: the library takes a fifth of a second to load.
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
    """A bounded number of counters in memory; a new one replaces the oldest.

    The library's own storage is unbounded. It also starts a thread every ten milliseconds that
    scans all counters, which delays predictions if there are many addresses.
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
    """Counts requests of each client. The window of a limit starts with the first request in it."""

    def __init__(self, notation: str, storage: BoundedMemoryStorage | None = None) -> None:
        self._limits = sorted(parse_many(notation))
        self._limiter = FixedWindowRateLimiter(storage or BoundedMemoryStorage())

    def hit(self, identifier: str) -> None:
        """Count a request. Raises RateLimited."""
        for limit in self._limits:
            if not self._limiter.hit(limit, identifier):
                free_at = self._limiter.get_window_stats(limit, identifier).reset_time
                raise RateLimited(
                    f"Rate limit exceeded: {limit}. Try again later.",
                    retry_after=max(1, ceil(free_at - time.monotonic())),
                )
