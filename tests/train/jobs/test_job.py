"""The life of a job: every allowed and every refused step, and who may write when."""

from datetime import timedelta
from itertools import product, repeat

import pytest

from app.database.tables import now
from app.errors import Conflict, QueueFull
from app.train.jobs import job as jobs
from app.train.jobs.fenced_writer import FencedWriter, Superseded
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.jobs.job import MAX_CRASHES, MAX_ERRORS, Status
from tests.postgres import ALL_DATABASES

DATABASES = ALL_DATABASES

ALLOWED_TRANSITIONS = {
    ("queued", "running"),
    ("queued", "cancelled"),
    ("running", "queued"),
    ("running", "paused"),
    ("paused", "queued"),
    ("paused", "cancelled"),
    ("running", "succeeded"),
    ("running", "failed"),
    ("running", "cancelled"),
}


def create(store, *, key=None, max_queued=16, **hyperparameters):
    return jobs.create(store, Hyperparameters(**hyperparameters), max_queued=max_queued, key=key)


def create_running(store):
    job = create(store)
    return job.id, jobs.start(store, job)


def statuses(store, job_id):
    return [event.data["status"] for event in store.events(job_id, kind="status")]


def test_every_pair_of_states(store):
    for source, target in product(Status, Status):
        job = create(store, max_queued=99)
        store.change_job(job.id, values={"status": source})
        moved = jobs._transition(store, job.id, target, {})
        assert moved == ((source, target) in ALLOWED_TRANSITIONS), (source, target)
        assert store.job(job.id).status == (target if moved else source)
        assert len(store.events(job.id, kind="status")) == 1 + moved


def test_the_final_states_are_the_contracts():
    assert {status for status in Status if status.is_final} == {"succeeded", "failed", "cancelled"}


def test_a_seed_is_drawn_and_recorded(store):
    seeds = {create(store).hyperparameters["seed"] for _ in range(5)}
    assert len(seeds) == 5
    assert create(store, seed=4).hyperparameters["seed"] == 4


def test_a_retry_with_the_same_key_is_the_same_job(store):
    first = create(store, key="k", epochs=3)
    assert create(store, key="k", epochs=3).id == first.id
    with pytest.raises(Conflict, match="other hyperparameters"):
        create(store, key="k", epochs=4)


def test_the_queue_is_bounded(store):
    create(store, max_queued=1)
    with pytest.raises(QueueFull) as excinfo:
        create(store, max_queued=1)
    assert excinfo.value.retry_after > 0


def test_what_an_older_attempt_still_writes_is_refused(store):
    job_id, first = create_running(store)
    jobs.requeue(store, store.job(job_id))
    second = jobs.start(store, store.job(job_id))
    assert (first, second) == (1, 2)
    with pytest.raises(Superseded):
        FencedWriter(store, job_id, first).record("batch", {}, progress={})
    with pytest.raises(Superseded):
        FencedWriter(store, job_id, first).begin_commit()
    jobs.fail(store, job_id, first, "code", "message")
    jobs.record_error(store, job_id, first, "code", "a reason")
    FencedWriter(store, job_id, second).record("batch", {}, progress={})
    assert store.job(job_id).status == "running"


@pytest.mark.parametrize(
    "write", [FencedWriter.begin_commit, FencedWriter.is_committing, FencedWriter.complete_progress]
)
def test_attempt_at_a_deleted_job_is_superseded(store, write):
    job_id, attempt = create_running(store)
    jobs.cancel(store, job_id)
    store.delete_jobs([job_id])
    with pytest.raises(Superseded):
        write(FencedWriter(store, job_id, attempt))
    jobs.record_error(store, job_id, attempt, "code", "a reason")
    assert store.job(job_id) is None


def test_stopping_the_service_never_counts_against_a_job(store):
    job_id, _ = create_running(store)
    for _ in range(MAX_CRASHES + 5):
        jobs.requeue(store, store.job(job_id))
        assert jobs.start(store, store.job(job_id))
    assert (store.job(job_id).crashes, store.job(job_id).status) == (0, "running")


def crash(store, job_id):
    jobs.record_crash(store, store.job(job_id), "a crash")
    jobs.start(store, store.job(job_id))


def test_a_job_whose_process_dies_goes_on_after_a_pause(store):
    job_id, _ = create_running(store)
    jobs.record_crash(store, store.job(job_id), "a crash", back_off=20.0)
    job = store.job(job_id)
    assert (job.status, job.crashes) == ("queued", 1)
    assert store.next_job(Status.QUEUED) is None, "it waits before it tries again"


def test_why_a_job_is_tried_again_is_told(store):
    job_id, attempt = create_running(store)
    jobs.record_crash(store, store.job(job_id), "a crash")
    attempt = jobs.start(store, store.job(job_id))
    jobs.record_error(store, job_id, attempt, "code", "a reason")
    recorded_reasons = [event.data.get("reason") for event in store.events(job_id, kind="status")]
    reasons = ["a crash", "a reason"]
    assert recorded_reasons == [None, None, reasons[0], None, reasons[1]]


@pytest.mark.parametrize(
    ("fail", "seconds"),
    [
        (
            lambda store, job: jobs.record_crash(store, job, "a crash"),
            [1, 2, 4, 8, 16, 32, 60, 60, 60],
        ),
        (lambda store, job: jobs.record_error(store, job.id, job.attempt, "code", "why"), [1, 2]),
    ],
)
def test_each_failure_doubles_the_wait_up_to_a_minute(store, fail, seconds):
    job_id, _ = create_running(store)
    for wait in map(timedelta, repeat(0), seconds):
        start_time = now()
        fail(store, store.job(job_id))
        assert start_time + wait <= store.job(job_id).not_before <= now() + wait
        jobs.start(store, store.job(job_id))


def test_ten_deaths_without_progress_fail_a_job(store):
    job_id, _ = create_running(store)
    for _ in range(MAX_CRASHES):
        crash(store, job_id)
    job = store.job(job_id)
    assert (job.status, job.error["code"]) == ("failed", "process_died")


def test_newly_saved_state_forgives_deaths(store):
    job_id, _ = create_running(store)
    for _ in range(MAX_CRASHES + 5):
        crash(store, job_id)
        FencedWriter(store, job_id, store.job(job_id).attempt).reset_failures()
    assert store.job(job_id).status == "running"


def test_the_third_exception_at_the_same_place_fails_a_job(store):
    job_id, attempt = create_running(store)
    for number in range(MAX_ERRORS):
        assert store.job(job_id).status == "running", number
        jobs.record_error(store, job_id, attempt, "exception", "ValueError: a reason")
        attempt = jobs.start(store, store.job(job_id))
    job = store.job(job_id)
    assert (job.status, job.error) == (
        "failed",
        {"code": "exception", "message": "ValueError: a reason"},
    )


def test_of_two_who_start_a_job_one_does(store):
    job = create(store)
    assert (jobs.start(store, job), jobs.start(store, job)) == (1, None)


def test_who_saw_an_earlier_attempt_starts_nothing(store):
    job = create(store)
    jobs.start(store, job)
    jobs.requeue(store, store.job(job.id))
    assert jobs.start(store, job) is None
    assert (store.job(job.id).status, store.job(job.id).attempt) == ("queued", 1)


def test_newly_saved_state_forgives_exceptions(store):
    job_id, attempt = create_running(store)
    for _ in range(MAX_ERRORS + 1):
        FencedWriter(store, job_id, attempt).reset_failures()
        jobs.record_error(store, job_id, attempt, "exception", "a reason")
        attempt = jobs.start(store, store.job(job_id))
    assert store.job(job_id).status == "running"
