"""Delivery: each message once, again until it is accepted, and given up after a day."""

import asyncio
import json
import threading
import time
from contextlib import suppress
from datetime import timedelta

import pytest
from sqlalchemy import update

from app.database.tables import Delivery, now
from app.webhooks.dispatcher import MAX_PER_ORIGIN, TIMING, Dispatcher, Timing
from app.webhooks.http_post import TimeOuts
from tests.postgres import ALL_DATABASES
from tests.webhooks.receiver import receiving

DATABASES = ALL_DATABASES
FAST = Timing(
    poll=0.01,
    retry=0.01,
    first_wait=0.02,
    max_wait=0.1,
    claim_margin=10,
    time_outs=TimeOuts(connect=240, total=240),
)


@pytest.fixture
def deliver(settings, database):
    """Run one dispatcher, or several, until a condition is true."""

    def run(condition, timing=FAST, dispatchers=1, seconds=120):
        async def until_true():
            tasks = [
                asyncio.create_task(Dispatcher(settings, database, timing).run())
                for _ in range(dispatchers)
            ]
            deadline = time.monotonic() + seconds
            try:
                while not await asyncio.to_thread(condition):
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.01)
            finally:
                for task in tasks:
                    task.cancel()
                for task in tasks:
                    with suppress(asyncio.CancelledError):
                        await task

        asyncio.run(until_true())

    return run


def message_of(outbox, job):
    (message,) = outbox.deliveries_by_job([job.id])[job.id]
    return message


def in_state(outbox, job, state):
    return lambda: message_of(outbox, job).state == state


def test_message_is_delivered_once_and_verified(deliver, outbox, ended_job, receiver):
    job = ended_job(f"{receiver.url}?token=1")
    deliver(in_state(outbox, job, "delivered"), dispatchers=3)
    message = message_of(outbox, job)
    ((message_id, body),) = receiver.received
    assert message_id == message.id
    assert (body["type"], body["data"]["id"]) == ("job.cancelled", job.id)
    ((path, headers, raw),) = receiver.requests
    assert path == "/hooks?token=1"
    assert headers["Content-Type"] == "application/json"
    assert headers["Host"] == f"127.0.0.1:{receiver.server_port}"
    assert json.loads(raw) == body
    assert (message.attempts, message.last_status, message.next_attempt_at) == (1, 204, None)
    assert message.finished_at is not None


def test_several_dispatchers_deliver_each_message_once(deliver, outbox, ended_job, receiver):
    jobs = [ended_job(receiver.url) for _ in range(12)]
    deliver(
        lambda: all(message_of(outbox, job).state == "delivered" for job in jobs), dispatchers=4
    )
    assert len({name for name, _ in receiver.received}) == len(receiver.received) == 12


def test_receiver_that_is_away_gets_the_message_later(deliver, outbox, ended_job, receiver):
    answers = iter([500, 302, 404, *[503] * 8])

    def answer(handler):
        status = next(answers, 200)
        handler.end(status, **({"Location": "/elsewhere"} if status == 302 else {}))

    receiver.answer = answer
    job = ended_job(receiver.url)
    deliver(in_state(outbox, job, "delivered"))
    assert message_of(outbox, job).attempts == 12
    assert len({name for name, _ in receiver.received}) == 1, "the id stays the same"
    assert receiver.followed == [], "redirects are not followed"


def test_receiver_that_refuses_for_a_day_is_given_up_and_the_job_says_so(
    deliver, outbox, ended_job, receiver, store, monkeypatch
):
    def answer(handler):
        if len(receiver.received) > 1:
            monkeypatch.setattr("app.webhooks.dispatcher.now", lambda: now() + timedelta(days=1))
        handler.end(500)

    receiver.answer = answer
    job = ended_job(receiver.url)
    deliver(in_state(outbox, job, "failed"))
    message, last = message_of(outbox, job), store.events(job.id)[-1]
    assert message.attempts > 1
    assert last.kind == "webhook"
    assert last.data == {
        "id": message.id,
        "event": "cancelled",
        "attempts": message.attempts,
        "error": "the receiver answered 500",
    }


def test_receiver_that_is_gone_for_good_is_given_up_at_once(deliver, outbox, ended_job, receiver):
    receiver.answer = lambda handler: handler.end(410)
    job = ended_job(receiver.url)
    deliver(in_state(outbox, job, "failed"))
    assert len(receiver.received) == 1


def test_message_of_a_process_that_died_is_sent_again_with_its_id(
    deliver, outbox, ended_job, receiver, monkeypatch
):
    job = ended_job(receiver.url)
    message = message_of(outbox, job)
    claim = outbox.claim(message, 600)  # and then the process dies
    assert outbox.claim(message, 600) is None, "another process may not claim it too"
    assert outbox.due(10) == []
    later = timedelta(seconds=601)
    monkeypatch.setattr("app.webhooks.delivery_store.now", lambda: now() + later)
    deliver(in_state(outbox, job, "delivered"))
    assert [name for name, _ in receiver.received] == [message.id]
    outbox.record_failure(message, claim, None, "too late", 1)
    assert message_of(outbox, job).state == "delivered", "an older claim records nothing"


def test_clock_that_was_put_back_delays_nothing(database, outbox, ended_job):
    job = ended_job("https://a.example/")
    far = now() + timedelta(days=3)
    database.write(lambda session: session.execute(update(Delivery).values(next_attempt_at=far)))
    assert [message.job_id for message in outbox.due(10)] == [job.id]


def test_receiver_that_hangs_holds_up_no_other(deliver, outbox, ended_job, receiver):
    release = threading.Event()
    with receiving(answer=lambda handler: (release.wait(240), handler.end(204))) as hanging:
        stuck = [ended_job(hanging.url) for _ in range(40)]
        job = ended_job(receiver.url)
        deliver(in_state(outbox, job, "delivered"))
        assert len(hanging.received) <= MAX_PER_ORIGIN
        release.set()
    assert all(message_of(outbox, other).state == "pending" for other in stuck)


def test_wait_grows_with_jitter_up_to_an_hour_and_a_day_has_dozens_of_attempts():
    waits = [TIMING.wait(attempt) for attempt in range(1, 60)]
    assert 1 <= waits[0] <= 2
    assert 4 <= waits[2] <= 8
    assert all(1800 <= wait <= 3600 for wait in waits[12:])
    assert len({*waits}) == len(waits)
    assert sum(waits[:20]) < TIMING.give_up


def test_url_with_its_secrets_is_never_logged(deliver, outbox, ended_job, caplog):
    job = ended_job("http://127.0.0.1:9/hooks/geheim?token=geheim")
    with caplog.at_level("DEBUG"):
        deliver(lambda: message_of(outbox, job).attempts > 1)
    assert "http://127.0.0.1:9" in caplog.text
    assert "geheim" not in caplog.text
