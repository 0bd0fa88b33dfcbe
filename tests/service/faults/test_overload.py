"""Overload with photos: accepted requests are answered, the others get 429 immediately."""

from collections import Counter

import pytest

from tests.rigs.load.closed_loop import Request, press, press_all
from tests.rigs.load.open_loop import flood, percentile
from tests.rigs.load.photo import photo
from tests.rigs.load.uploads import raw_request
from tests.service.running import run_service

QUEUE = 16
SECONDS, TRIES = 4, 3


@pytest.fixture(scope="module")
def request_of_a_photo():
    jpeg, digit = photo(reduced=4)
    return Request(raw_request(jpeg), digit)


def rate(service, request):
    """Return how many answers a second there can be: a busy machine spoils no more than a try."""
    return max(press(service.port, [request], 4, 1).rate for _ in range(3))


def waits(flooded, status):
    """List the seconds from request to answer: on a busy machine, requests may be sent late."""
    return sorted(answer.wait for answer in flooded.answers if answer.status == status)


def overload(service, request, is_overloaded):
    """Send five times as many photos as can be read; again if another process changes how many."""
    for _ in range(TRIES):
        flooded = flood(service.port, [request], 5 * rate(service, request), SECONDS)
        assert flooded.wrong == 0
        if is_overloaded(flooded):
            return flooded
    counts = Counter(answer.status for answer in flooded.answers)
    raise AssertionError(f"no overload in {TRIES} tries: {counts}")


def test_refusals_come_before_answers_and_end_with_the_flood(tmp_path, request_of_a_photo):
    def is_overloaded(flooded):
        answered, rejected = waits(flooded, 200), waits(flooded, 429)
        more_came = len(rejected) > len(answered) > 0
        return more_came and percentile(rejected, 50) < percentile(answered, 50) / 2

    with run_service(tmp_path / "var", max_queue=str(QUEUE)) as service:
        overload(service, request_of_a_photo, is_overloaded)
        recovery = press_all(service.port, [request_of_a_photo] * 20, 4)
    assert (recovery.lost, len(recovery.latencies)) == (0, 20)


def test_a_crowd_that_would_wait_too_long_is_not_taken(tmp_path, request_of_a_photo):
    """The queue has room for more than there is time for. What is begun is done in time."""

    def is_overloaded(flooded):
        answered, late = len(flooded.latencies(200)), len(flooded.latencies(504))
        return min(answered, len(flooded.latencies(429))) > late

    with run_service(tmp_path / "var", predict_timeout="1") as service:
        flooded = overload(service, request_of_a_photo, is_overloaded)
        counted = service.get("/health/ready")["images"]
    assert counted["busy"] >= len(flooded.latencies(429))
