"""Orders of steps in which the life of a job once went wrong."""

import pytest

from app.database.sweeps import SweepStore
from app.errors import Conflict
from app.train.jobs import job as jobs
from app.train.jobs import sweep
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.jobs.sweep_grid import Grid
from app.webhooks.delivery_store import DeliveryStore
from app.webhooks.subscriptions import Subscription


def create(store, key=None, **options):
    return jobs.create(store, Hyperparameters(seed=1), max_queued=9, key=key, **options)


@pytest.fixture
def after_first(monkeypatch):
    """Run a function after the first call of a method."""

    def after_first(owner, name, happen):
        method, calls = getattr(owner, name), []

        def call(*arguments, **options):
            result = method(*arguments, **options)
            calls.append(name)
            if len(calls) == 1:
                happen()
            return result

        monkeypatch.setattr(owner, name, call)

    return after_first


def test_pause_of_a_job_that_starts_after_the_refusal_pauses_it(store, after_first):
    """The answer was: the job is running and cannot be paused, because only a running one can."""
    job = create(store)
    after_first(store, "change_job", lambda: jobs.start(store, job))
    assert jobs.pause(store, job.id).status == "paused"


def test_cancel_of_a_sweep_that_has_just_ended_names_its_end(database, after_first):
    """The answer was: the sweep is running and cannot be cancelled."""
    sweeps = SweepStore(database)
    row = sweep.create(sweeps, Grid(seed=[1]), max_queued=9, key=None)
    (job,) = sweeps.jobs(row.id)

    def end():
        jobs.cancel(sweeps.job_store, job.id)
        sweep.end_finished(sweeps)

    after_first(sweeps, "sweep", end)
    real_change = sweeps.change
    sweeps.change = lambda *arguments, **options: (
        sweep.get(sweeps, row.id) and real_change(*arguments, **options)
    )
    with pytest.raises(Conflict, match="The sweep is cancelled and cannot be cancelled"):
        sweep.cancel(sweeps, row.id)


def test_key_of_a_job_that_is_deleted_in_between_makes_a_new_one(store, monkeypatch):
    """The answer was a 500: the key was taken, and then no job had it."""
    first = create(store, key="k")
    jobs.cancel(store, first.id)
    real, lookups = store.job_by_key, []

    def job_by_key(key):
        lookups.append(key)
        if len(lookups) == 1:  # the first job is not there yet
            return None
        store.delete_jobs([first.id])
        return real(key)

    monkeypatch.setattr(store, "job_by_key", job_by_key)
    second = create(store, key="k")
    assert second.id != first.id
    assert store.job(second.id).idempotency_key == "k"


def test_key_of_a_job_that_is_deleted_in_between_is_no_conflict(store, monkeypatch):
    """The answer was a 409: the webhook of the deleted job was gone, so it was another one."""
    webhook = Subscription("https://example.org/hook", ("succeeded",))
    first = create(store, key="k", webhooks=[webhook])
    jobs.cancel(store, first.id)
    real = DeliveryStore.requested_webhooks

    def requested_webhooks(self, job_ids):
        store.delete_jobs(job_ids)
        return real(self, job_ids)

    monkeypatch.setattr(DeliveryStore, "requested_webhooks", requested_webhooks)
    assert create(store, key="k", webhooks=[webhook]).id == first.id


def test_key_of_a_sweep_that_is_deleted_in_between_makes_a_new_one(database, monkeypatch):
    sweeps = SweepStore(database)

    def create_sweep():
        return sweep.create(sweeps, Grid(seed=[1, 2]), max_queued=9, key="k")

    first = create_sweep()
    sweep.cancel(sweeps, first.id)
    real, lookups = sweeps.by_key, []

    def by_key(key):
        lookups.append(key)
        if len(lookups) == 1:
            return None
        sweeps.delete(first.id)
        return real(key)

    monkeypatch.setattr(sweeps, "by_key", by_key)
    second = create_sweep()
    assert second.id != first.id
    assert len(sweeps.jobs(second.id)) == 2


def test_supervisor_goes_on_if_a_job_is_deleted_while_it_starts(store, supervise, after_first):
    """Its step failed with NotFound: it logged a defect, and began again."""
    job = create(store)

    def delete():
        jobs.cancel(store, job.id)
        store.delete_jobs([job.id])

    supervisor = supervise()
    after_first(supervisor.job_store, "change_job", delete)
    supervisor._start_next()
    assert supervisor._running == []


def test_supervisor_whose_job_was_taken_over_keeps_no_process_for_it(store, supervise, after_first):
    """It took its process for that of the other's attempt, and counted its end as a crash."""
    job = create(store)

    def take_over():
        jobs.requeue(store, store.job(job.id))
        assert jobs.start(store, store.job(job.id)) == 2

    supervisor = supervise()
    after_first(supervisor.job_store, "change_job", take_over)
    supervisor._start_next()
    assert supervisor._running == []
    assert (store.job(job.id).attempt, store.job(job.id).crashes) == (2, 0)
