"""What clients wish for a job: cancel, pause, resume, in every state."""

import pytest

from app.errors import Conflict, NotFound
from app.train.jobs import job as jobs
from app.train.jobs.fenced_writer import FencedWriter, Superseded
from app.train.jobs.job import Status
from tests.train.jobs.test_job import create, create_running, statuses


def test_a_queued_job_is_cancelled_and_never_starts(store):
    job = create(store)
    assert jobs.cancel(store, job.id).status == "cancelled"
    assert jobs.start(store, job) is None
    assert store.next_job(Status.QUEUED) is None


def test_what_a_cancelled_job_still_writes_is_refused(store):
    job_id, attempt = create_running(store)
    jobs.cancel(store, job_id)
    with pytest.raises(Superseded):
        FencedWriter(store, job_id, attempt).record("batch", {}, progress={})
    with pytest.raises(Superseded):
        FencedWriter(store, job_id, attempt).succeed({})
    jobs.fail(store, job_id, attempt, "code", "message")
    assert statuses(store, job_id) == ["queued", "running", "cancelled"]


def test_a_job_that_is_storing_its_version_cannot_be_cancelled(store):
    job_id, attempt = create_running(store)
    FencedWriter(store, job_id, attempt).begin_commit()
    with pytest.raises(Conflict, match="storing its version"):
        jobs.cancel(store, job_id)
    FencedWriter(store, job_id, attempt).succeed({"version": 2})
    with pytest.raises(Conflict, match="succeeded"):
        jobs.cancel(store, job_id)
    job = store.job(job_id)
    assert (job.status, job.result, job.finished_at is None) == ("succeeded", {"version": 2}, False)


@pytest.mark.parametrize("outcome", ["release", "bury", "stumble"])
def test_a_job_whose_version_may_be_live_is_not_cancelled_whatever_became_of_it(store, outcome):
    job_id, attempt = create_running(store)
    FencedWriter(store, job_id, attempt).begin_commit()
    if outcome == "release":
        jobs.requeue(store, store.job(job_id))
    elif outcome == "bury":
        jobs.record_crash(store, store.job(job_id), "a crash")
    else:
        jobs.record_error(store, job_id, attempt, "code", "a reason")
    with pytest.raises(Conflict, match="storing its version and cannot be cancelled"):
        jobs.cancel(store, job_id)
    FencedWriter(store, job_id, jobs.start(store, store.job(job_id))).succeed({"version": 2})


def test_a_running_job_is_paused_and_resumed(store):
    job_id, attempt = create_running(store)
    assert jobs.pause(store, job_id).status == "paused"
    assert store.next_job(Status.QUEUED) is None, "it waits for its client"
    with pytest.raises(Superseded):
        FencedWriter(store, job_id, attempt).record("batch", {}, progress={})
    assert jobs.resume(store, job_id).status == "queued"
    assert store.next_job(Status.QUEUED).id == job_id
    assert jobs.start(store, store.job(job_id)) == attempt + 1
    assert statuses(store, job_id) == ["queued", "running", "paused", "queued", "running"]


def test_a_resumed_job_keeps_its_place(store):
    first, _ = create_running(store)
    create(store)
    jobs.pause(store, first)
    jobs.resume(store, first)
    assert store.next_job(Status.QUEUED).id == first


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize(
    ("action", "allowed"),
    [
        (jobs.cancel, {"queued", "running", "paused"}),
        (jobs.pause, {"running"}),
        (jobs.resume, {"paused"}),
    ],
)
def test_every_wish_in_every_state(store, action, allowed, status):
    job = create(store)
    store.change_job(job.id, values={"status": status})
    if status in allowed:
        assert action(store, job.id).status != status
    else:
        message = f"The job is {status} and cannot be {action.__name__}"
        with pytest.raises(Conflict, match=message):
            action(store, job.id)
        assert store.job(job.id).status == status


def test_a_job_that_is_storing_its_version_cannot_be_paused(store):
    job_id, attempt = create_running(store)
    FencedWriter(store, job_id, attempt).begin_commit()
    with pytest.raises(Conflict, match="storing its version and cannot be paused"):
        jobs.pause(store, job_id)


@pytest.mark.parametrize("outcome", ["release", "bury", "stumble"])
def test_whatever_becomes_of_the_process_a_paused_job_stays_paused(store, outcome):
    job_id, attempt = create_running(store)
    stale_job = store.job(job_id)
    jobs.pause(store, job_id)
    if outcome == "release":
        assert not jobs.requeue(store, stale_job)
    elif outcome == "bury":
        jobs.record_crash(store, stale_job, "a crash")
    else:
        jobs.record_error(store, job_id, attempt, "code", "a reason")
    assert store.job(job_id).status == "paused"


@pytest.mark.parametrize("call", [jobs.get, jobs.cancel, jobs.pause, jobs.resume])
def test_an_unknown_job_is_not_found(store, call):
    with pytest.raises(NotFound, match="The job 'x' does not exist"):
        call(store, "x")
