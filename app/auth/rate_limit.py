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

MOST_COUNTERS: Final = 100_000


class BoundedMemoryStorage(Storage):
    """Counters in memory, of which there is a most: the oldest give way.

    The library's own have no most, and start a thread every ten milliseconds that looks at all of
    them, which with many addresses would keep predictions waiting.
    """

    STORAGE_SCHEME = ["mynet"]  # noqa: RUF012
    base_exceptions = ()

    def __init__(self, most: int = MOST_COUNTERS) -> None:
        super().__init__()
        self.most = most
        self._counted: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        count, until = self._counted.get(key, (0, 0.0))
        if until <= time.monotonic():
            self._counted.pop(key, None)
            count, until = 0, time.monotonic() + expiry
            while len(self._counted) >= self.most:
                self._counted.popitem(last=False)
        self._counted[key] = count + amount, until
        return count + amount

    def get(self, key: str) -> int:
        count, until = self._counted.get(key, (0, 0.0))
        return count if until > time.monotonic() else 0

    def get_expiry(self, key: str) -> float:
        return self._counted.get(key, (0, time.monotonic()))[1]

    def check(self) -> bool:
        return True

    def reset(self) -> int:
        number = len(self._counted)
        self._counted.clear()
        return number

    def clear(self, key: str) -> None:
        self._counted.pop(key, None)


class RateLimiter:
    """Counts requests, for each limit in a window that begins with the first of them."""

    def __init__(self, notation: str, counters: BoundedMemoryStorage | None = None) -> None:
        self._limits = sorted(parse_many(notation))
        self._limiter = FixedWindowRateLimiter(counters or BoundedMemoryStorage())

    def hit(self, who: str) -> None:
        """Count a request. Raises RateLimited."""
        for limit in self._limits:
            if not self._limiter.hit(limit, who):
                free_at = self._limiter.get_window_stats(limit, who).reset_time
                raise RateLimited(
                    f"More requests came from you than {limit}.",
                    retry_after=max(1, ceil(free_at - time.monotonic())),
                )
