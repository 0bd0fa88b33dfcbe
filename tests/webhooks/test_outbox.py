"""Messages in the outbox: stored with the end of a job, once for each event and URL."""

import json

import pytest

from app.database.tables import Delivery
from app.train.jobs import job as jobs
from app.train.jobs.fenced_writer import FencedWriter
from app.train.jobs.hyperparameters import Hyperparameters
from app.webhooks.request import EVENTS
from app.webhooks.subscriptions import Subscription
from tests.postgres import ALL_DATABASES
from tests.webhooks.conftest import queued_job

DATABASES = ALL_DATABASES
URL = "https://a.example/hooks?token=1"
RESULT = {"version": 3, "test_accuracy": 0.98, "promoted": True, "reason": "there was none"}


def messages(outbox, job):
    return outbox.deliveries_by_job([job.id])[job.id]


def test_job_that_succeeds_stores_a_message_for_each_of_its_events(store, outbox):
    job = queued_job(store, URL)
    attempt = jobs.start(store, job)
    assert messages(outbox, job) == []
    FencedWriter(store, job.id, attempt).succeed(RESULT)
    first, second = messages(outbox, job)
    assert (first.event, second.event) == ("succeeded", "promoted")
    assert first.id != second.id
    assert {first.origin, second.origin} == {"https://a.example:443"}
    body = json.loads(second.body)
    assert body["type"] == "job.promoted"
    assert body["data"]["id"] == job.id
    assert body["data"]["result"] == RESULT
    assert body["data"]["finished_at"].endswith("Z")
    assert "epochs" not in body["data"]


def test_version_that_does_not_go_live_is_not_promoted(store, outbox):
    job = queued_job(store, URL)
    attempt = jobs.start(store, job)
    FencedWriter(store, job.id, attempt).succeed(RESULT | {"promoted": False})
    assert [message.event for message in messages(outbox, job)] == ["succeeded"]


def test_job_that_fails_or_is_cancelled_stores_its_message(store, outbox):
    failed, cancelled = queued_job(store, URL), queued_job(store, URL)
    jobs.fail(store, failed.id, jobs.start(store, failed), "diverged", "The training diverged.")
    jobs.cancel(store, cancelled.id)
    (message,) = messages(outbox, failed)
    assert json.loads(message.body)["data"]["error"]["code"] == "diverged"
    (message,) = messages(outbox, cancelled)
    assert (message.event, message.state, message.attempts) == ("cancelled", "pending", 0)


def test_only_the_events_that_were_asked_for_are_stored_once_for_each_url(store, outbox):
    webhooks = [
        Subscription(URL, ("failed",)),
        Subscription(URL, EVENTS, from_settings=True),
        Subscription("https://b.example/", ("succeeded",), from_settings=True),
    ]
    job = jobs.create(store, Hyperparameters(), max_queued=9, key=None, webhooks=webhooks)
    jobs.fail(store, job.id, jobs.start(store, job), "diverged", "The training diverged.")
    assert [(message.event, message.url) for message in messages(outbox, job)] == [("failed", URL)]


def test_end_that_does_not_happen_stores_nothing(store, outbox):
    job = queued_job(store, URL)
    attempt = jobs.start(store, job)
    jobs.cancel(store, job.id)
    jobs.fail(store, job.id, attempt, "diverged", "too late")
    assert [message.event for message in messages(outbox, job)] == ["cancelled"]


def test_job_whose_message_cannot_be_stored_stays_as_it_was(store, monkeypatch):
    """The end of a job and its messages are one transaction."""
    job = queued_job(store, URL)

    def fail(*_):
        raise RuntimeError("killed")

    monkeypatch.setattr("app.webhooks.outbox.payload", fail)
    with pytest.raises(RuntimeError, match="killed"):
        jobs.cancel(store, job.id)
    assert store.job(job.id).status == "queued"
    assert [event.data["status"] for event in store.events(job.id)] == ["queued"]


def test_deleted_job_takes_its_messages_with_it(store, outbox, database):
    job = queued_job(store, URL)
    jobs.cancel(store, job.id)
    store.delete_jobs([job.id])
    assert messages(outbox, job) == []
    with database.read() as session:
        assert session.query(Delivery).count() == 0
