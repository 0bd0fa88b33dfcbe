"""Retraining by itself: when, once, and with what."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import numpy as np
import pytest

from app.api.routes import health
from app.database.database import Database
from app.database.tables import now
from app.errors import Conflict
from app.feedback import FeedbackStore
from app.train.jobs import job as jobs
from app.train.jobs.fenced_writer import FencedWriter
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.jobs.retraining import AutomaticRetraining
from tests.postgres import ALL_DATABASES

DATABASES = ALL_DATABASES
AFTER = 3
RESULT = {"version": 2, "test_accuracy": 0.98, "promoted": False, "reason": "chance"}


@pytest.fixture
def correct(settings):
    """Return what stores so many new corrections."""
    feedback, numbers = FeedbackStore(settings.feedback_dir, 1000), iter(range(1000))

    def store(count):
        for _ in range(count):
            feedback.add(np.full((8, 8), next(numbers), np.uint8), 7)

    return store


@pytest.fixture
def retraining(registry, settings, database):  # noqa: ARG001
    return AutomaticRetraining(settings, database, AFTER)


@pytest.mark.parametrize(("recipe", "counted"), [("robust", AFTER), ("documented", AFTER - 1)])
def test_images_without_a_digit_count_if_the_recipe_learns_from_them(
    retraining, correct, settings, registry, recipe, counted
):
    card = registry.card(1).model_copy(update={"recipe": recipe})
    registry.promote(registry.save(registry.weights(1), card))
    correct(AFTER - 1)
    feedback = FeedbackStore(settings.feedback_dir, 1000)
    feedback.add(np.zeros((8, 9), np.uint8), None)
    assert (retraining.start_if_due() is None) == (counted < AFTER)
    assert retraining.new_corrections == counted


def train(store, **hyperparameters):
    values = Hyperparameters(**hyperparameters or {"include_feedback": True})
    return jobs.create(store, values, max_queued=9, key=None)


def finish(store, job):
    FencedWriter(store, job.id, jobs.start(store, job)).succeed(RESULT)


def test_job_with_all_corrections_is_queued_when_enough_are_new(retraining, correct, store):
    correct(AFTER - 1)
    assert retraining.start_if_due() is None
    assert retraining.new_corrections == AFTER - 1
    correct(1)
    job = store.job(retraining.start_if_due().id)
    assert (job.status, job.hyperparameters["include_feedback"]) == ("queued", True)
    assert job.hyperparameters["promote"] == "if_better"
    assert job.hyperparameters["recipe"] == "documented", "as the live version's"
    assert job.hyperparameters["note"] == "retrained by itself after 3 new corrections"
    assert [event.data for event in store.events(job.id)] == [{"status": "queued"}]


def test_next_job_needs_as_many_new_corrections_again(retraining, correct, store):
    correct(AFTER)
    first = retraining.start_if_due()
    correct(AFTER + 1)
    assert retraining.start_if_due() is None, "the job that waits will use them"
    assert retraining.count() == 0
    finish(store, store.job(first.id))
    assert retraining.count() == 0
    correct(AFTER)
    assert retraining.start_if_due() is not None


@pytest.mark.parametrize(
    "hyperparameters", [{"include_feedback": True}, {"datasets": ["mnist", "corrections"]}]
)
def test_job_of_a_client_counts_as_one_and_a_job_without_corrections_does_not(
    retraining, correct, store, hyperparameters
):
    correct(AFTER)
    finish(store, train(store, datasets=["mnist"]))
    assert retraining.count() == AFTER
    finish(store, train(store, **hyperparameters))
    assert retraining.start_if_due() is None
    assert retraining.count() == 0


def test_job_that_is_cancelled_in_the_queue_is_not_started_again_at_once(
    retraining, correct, store
):
    correct(AFTER)
    jobs.cancel(store, retraining.start_if_due().id)
    assert retraining.start_if_due() is None
    correct(AFTER)
    assert retraining.start_if_due() is not None


def test_deleted_job_makes_no_correction_new_again(retraining, correct, store):
    correct(AFTER)
    job = train(store)
    finish(store, job)
    assert retraining.start_if_due() is None
    store.delete_jobs([job.id])
    assert retraining.start_if_due() is None
    assert retraining.count() == 0


@pytest.mark.usefixtures("registry")
def test_several_processes_queue_one_job(settings, correct, store):
    correct(AFTER)

    def start(_):
        with closing(Database(settings.effective_database_url)) as database:
            return AutomaticRetraining(settings, database, AFTER).start_if_due()

    with ThreadPoolExecutor(6) as pool:
        started = [job for job in pool.map(start, range(12)) if job]
    assert len(started) == 1
    assert [job.id for job in store.jobs()] == [started[0].id]


def test_job_that_another_process_queues_between_count_and_queue_is_the_only_one(
    retraining, settings, database, correct, store, monkeypatch
):
    hyperparameters, others = retraining._hyperparameters, []

    def hyperparameters_after_another_process():
        others.append(AutomaticRetraining(settings, database, AFTER).start_if_due())
        return hyperparameters()

    monkeypatch.setattr(retraining, "_hyperparameters", hyperparameters_after_another_process)
    correct(AFTER)
    assert retraining.start_if_due() is None
    assert [job.id for job in store.jobs()] == [other.id for other in others]


def test_corrections_are_counted_since_a_time(settings, correct):
    feedback = FeedbackStore(settings.feedback_dir, 1000)
    correct(2)
    time = now()
    correct(3)
    assert feedback.count(None, non_digits=True) == 5
    assert feedback.count(time, non_digits=True) == 3
    assert feedback.count(time + timedelta(hours=1), non_digits=True) == 0


def test_count_goes_on_after_the_live_version_could_not_be_read(retraining, monkeypatch):
    counts = []

    def count():
        counts.append(len(counts))
        if len(counts) == 1:
            raise Conflict("Version 1 is damaged.")
        raise asyncio.CancelledError

    monkeypatch.setattr(health, "CORRECTIONS_COUNT_INTERVAL", 0)
    monkeypatch.setattr(retraining, "count", count)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(health.count_corrections(retraining))
    assert counts == [0, 1]
