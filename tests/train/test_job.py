"""The life of a job: every allowed and every refused step, and who may write when."""

from itertools import product

import pytest

from app.errors import Busy, Conflict, NotFound
from app.train import job as jobs
from app.train.hyperparameters import Hyperparameters
from app.train.job import MOST_DEATHS, MOST_STUMBLES, Status, Superseded

ALLOWED = {
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


def create(store, *, key=None, most=16, **wanted):
    return jobs.create(store, Hyperparameters(**wanted), most_queued=most, key=key)


def running(store):
    job = create(store)
    return job.id, jobs.start(store, job)


def statuses(store, job_id):
    return [event.data["status"] for event in store.events(job_id, kind="status")]


@pytest.mark.parametrize(("source", "target"), list(product(Status, Status)))
def test_every_pair_of_states(store, source, target):
    job = create(store)
    store.change_job(job.id, values={"status": source})
    moved = jobs._move(store, job.id, target, {})
    assert moved == ((source, target) in ALLOWED)
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
    create(store, most=1)
    with pytest.raises(Busy) as refused:
        create(store, most=1)
    assert refused.value.retry_after > 0


def test_a_queued_job_is_cancelled_and_never_starts(store):
    job = create(store)
    assert jobs.cancel(store, job.id).status == "cancelled"
    assert jobs.start(store, job) is None
    assert store.next_job(Status.QUEUED) is None


def test_what_a_cancelled_job_still_writes_is_refused(store):
    job_id, attempt = running(store)
    jobs.cancel(store, job_id)
    with pytest.raises(Superseded):
        jobs.record(store, job_id, attempt, "batch", {}, progress={})
    with pytest.raises(Superseded):
        jobs.succeed(store, job_id, attempt, {})
    jobs.fail(store, job_id, attempt, "code", "message")
    assert statuses(store, job_id) == ["queued", "running", "cancelled"]


def test_what_an_older_attempt_still_writes_is_refused(store):
    job_id, first = running(store)
    jobs.release(store, store.job(job_id))
    second = jobs.start(store, store.job(job_id))
    assert (first, second) == (1, 2)
    with pytest.raises(Superseded):
        jobs.record(store, job_id, first, "batch", {}, progress={})
    with pytest.raises(Superseded):
        jobs.begin_finish(store, job_id, first)
    jobs.fail(store, job_id, first, "code", "message")
    jobs.stumble(store, job_id, first, "code", "a reason")
    jobs.record(store, job_id, second, "batch", {}, progress={})
    assert store.job(job_id).status == "running"


def test_a_job_that_is_storing_its_version_cannot_be_cancelled(store):
    job_id, attempt = running(store)
    jobs.begin_finish(store, job_id, attempt)
    with pytest.raises(Conflict, match="storing its version"):
        jobs.cancel(store, job_id)
    jobs.succeed(store, job_id, attempt, {"version": 2})
    with pytest.raises(Conflict, match="succeeded"):
        jobs.cancel(store, job_id)
    job = store.job(job_id)
    assert (job.status, job.result, job.finished_at is None) == ("succeeded", {"version": 2}, False)


@pytest.mark.parametrize("how", ["release", "bury", "stumble"])
def test_a_job_whose_version_may_be_live_is_not_cancelled_whatever_became_of_it(store, how):
    job_id, attempt = running(store)
    jobs.begin_finish(store, job_id, attempt)
    if how == "release":
        jobs.release(store, store.job(job_id))
    elif how == "bury":
        jobs.bury(store, store.job(job_id), -9)
    else:
        jobs.stumble(store, job_id, attempt, "code", "a reason")
    with pytest.raises(Conflict, match="storing its version; it cannot be cancelled"):
        jobs.cancel(store, job_id)
    jobs.succeed(store, job_id, jobs.start(store, store.job(job_id)), {"version": 2})


def test_stopping_the_service_never_counts_against_a_job(store):
    job_id, _ = running(store)
    for _ in range(MOST_DEATHS + 5):
        jobs.release(store, store.job(job_id))
        assert jobs.start(store, store.job(job_id))
    assert (store.job(job_id).deaths, store.job(job_id).status) == (0, "running")


def die(store, job_id):
    jobs.bury(store, store.job(job_id), -9)
    jobs.start(store, store.job(job_id))


def test_a_job_whose_process_dies_goes_on_after_a_pause(store):
    job_id, _ = running(store)
    jobs.bury(store, store.job(job_id), -9)
    job = store.job(job_id)
    assert (job.status, job.deaths) == ("queued", 1)
    assert store.next_job(Status.QUEUED) is None, "it waits before it tries again"


def test_why_a_job_is_tried_again_is_told(store):
    job_id, attempt = running(store)
    jobs.bury(store, store.job(job_id), -9)
    attempt = jobs.start(store, store.job(job_id))
    jobs.stumble(store, job_id, attempt, "code", "a reason")
    told = [event.data.get("reason") for event in store.events(job_id, kind="status")]
    reasons = ["The training process died (exit code -9).", "a reason"]
    assert told == [None, None, reasons[0], None, reasons[1]]


def test_ten_deaths_without_progress_fail_a_job(store):
    job_id, _ = running(store)
    for _ in range(MOST_DEATHS):
        die(store, job_id)
    job = store.job(job_id)
    assert (job.status, job.error["code"]) == ("failed", "process_died")


def test_newly_saved_state_forgives_deaths(store):
    job_id, _ = running(store)
    for _ in range(MOST_DEATHS + 5):
        die(store, job_id)
        jobs.got_further(store, job_id, store.job(job_id).attempt)
    assert store.job(job_id).status == "running"


def test_the_third_exception_at_the_same_place_fails_a_job(store):
    job_id, attempt = running(store)
    for number in range(MOST_STUMBLES):
        assert store.job(job_id).status == "running", number
        jobs.stumble(store, job_id, attempt, "exception", "ValueError: a reason")
        attempt = jobs.start(store, store.job(job_id))
    job = store.job(job_id)
    assert (job.status, job.error) == (
        "failed",
        {"code": "exception", "message": "ValueError: a reason"},
    )


def test_a_running_job_is_paused_and_resumed(store):
    job_id, attempt = running(store)
    assert jobs.pause(store, job_id).status == "paused"
    assert store.next_job(Status.QUEUED) is None, "it waits for its client"
    with pytest.raises(Superseded):
        jobs.record(store, job_id, attempt, "batch", {}, progress={})
    assert jobs.resume(store, job_id).status == "queued"
    assert store.next_job(Status.QUEUED).id == job_id
    assert jobs.start(store, store.job(job_id)) == attempt + 1
    assert statuses(store, job_id) == ["queued", "running", "paused", "queued", "running"]


def test_a_resumed_job_keeps_its_place(store):
    first, _ = running(store)
    create(store)
    jobs.pause(store, first)
    jobs.resume(store, first)
    assert store.next_job(Status.QUEUED).id == first


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize(
    ("wish", "allowed"),
    [
        (jobs.cancel, {"queued", "running", "paused"}),
        (jobs.pause, {"running"}),
        (jobs.resume, {"paused"}),
    ],
)
def test_every_wish_in_every_state(store, wish, allowed, status):
    job = create(store)
    store.change_job(job.id, values={"status": status})
    if status in allowed:
        assert wish(store, job.id).status != status
    else:
        with pytest.raises(Conflict, match=f"The job is {status}; it cannot be {wish.__name__}"):
            wish(store, job.id)
        assert store.job(job.id).status == status


def test_a_job_that_is_storing_its_version_cannot_be_paused(store):
    job_id, attempt = running(store)
    jobs.begin_finish(store, job_id, attempt)
    with pytest.raises(Conflict, match="storing its version; it cannot be paused"):
        jobs.pause(store, job_id)


@pytest.mark.parametrize("how", ["release", "bury", "stumble"])
def test_whatever_becomes_of_the_process_a_paused_job_stays_paused(store, how):
    job_id, attempt = running(store)
    before = store.job(job_id)
    jobs.pause(store, job_id)
    if how == "release":
        assert not jobs.release(store, before)
    elif how == "bury":
        jobs.bury(store, before, -9)
    else:
        jobs.stumble(store, job_id, attempt, "code", "a reason")
    assert store.job(job_id).status == "paused"


def test_of_two_who_start_a_job_one_does(store):
    job = create(store)
    assert (jobs.start(store, job), jobs.start(store, job)) == (1, None)


@pytest.mark.parametrize("call", [jobs.get, jobs.cancel, jobs.pause, jobs.resume])
def test_an_unknown_job_is_not_found(store, call):
    with pytest.raises(NotFound, match="no job 'x'"):
        call(store, "x")
