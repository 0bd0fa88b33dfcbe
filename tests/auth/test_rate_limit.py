import pytest

from app.auth import rate_limit
from app.auth.rate_limit import BoundedMemoryStorage, RateLimiter
from app.errors import RateLimited


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets."""

    class Clock:
        now = 1_000_000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(rate_limit, "time", clock)
    return clock


def count_passed(limits, address, times):
    """How many of these requests pass."""
    number = 0
    for _ in range(times):
        try:
            limits.hit(address)
            number += 1
        except RateLimited:
            pass
    return number


def test_each_has_a_window_of_their_own(clock):
    limits = RateLimiter("3/minute")
    assert count_passed(limits, "a", 5) == 3
    assert count_passed(limits, "b", 2) == 2
    clock.now += 59
    assert count_passed(limits, "a", 1) == 0
    clock.now += 1
    assert count_passed(limits, "a", 5) == 3


def test_the_refusal_says_how_often_and_when_again(clock):
    limits = RateLimiter("1/minute")
    limits.hit("a")
    clock.now += 19.5
    with pytest.raises(RateLimited, match="1 per 1 minute") as error:
        limits.hit("a")
    assert error.value.retry_after == 41


def test_all_limits_hold(clock):
    limits = RateLimiter("10/minute; 2/second")
    assert count_passed(limits, "a", 5) == 2
    for _ in range(3):
        clock.now += 1
        assert count_passed(limits, "a", 5) == 2
    clock.now += 1
    assert count_passed(limits, "a", 5) == 2
    clock.now += 1
    assert count_passed(limits, "a", 5) == 0


def test_memory_is_bounded_and_the_oldest_gives_way():
    counters = BoundedMemoryStorage(max_counters=100)
    limits = RateLimiter("1/hour", counters)
    for address in range(1000):
        limits.hit(f"10.0.{address}")
    assert len(counters._counts) == 100
    assert count_passed(limits, "10.0.999", 1) == 0
    assert count_passed(limits, "10.0.0", 1) == 1


def test_a_new_window_takes_no_more_room(clock):
    counters = BoundedMemoryStorage(max_counters=100)
    limits = RateLimiter("1/second", counters)
    for _ in range(10):
        limits.hit("a")
        clock.now += 1
    assert len(counters._counts) == 1
    assert counters.get("LIMITER/a/1/1/second") == 0
    assert counters.check()
    assert counters.reset() == 1
    assert counters.get_expiry("x") == clock.now


def test_what_is_cleared_counts_anew():
    counters = BoundedMemoryStorage()
    assert [counters.incr("a", 60), counters.incr("a", 60, 2), counters.get("a")] == [1, 3, 3]
    counters.clear("a")
    assert counters.get("a") == 0
