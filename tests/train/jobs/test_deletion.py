"""Deletion of jobs and sweeps: only of final ones, whole, and at once or after some days."""

from datetime import timedelta

import pytest
from sqlalchemy import select

from app.database import jobs as job_store
from app.database.sweeps import SweepStore
from app.database.tables import Event, InitialWeights, Job, Sweep, SweepJob, Trace, now
from app.errors import Conflict, NotFound
from app.train.jobs import deletion
from app.train.jobs import job as jobs
from app.train.jobs import sweep as sweeps
from app.train.jobs.fenced_writer import FencedWriter
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.jobs.sweep_grid import Grid
from tests.postgres import ALL_DATABASES

DATABASES = ALL_DATABASES


@pytest.fixture
def sweep_store(database):
    return SweepStore(database)


def create(store, **values):
    job = jobs.create(
        store, Hyperparameters(), max_queued=99, key=None, trace_context={"traceparent": "x"}
    )
    if values:
        store.change_job(job.id, values=values)
    return job.id


def create_sweep(sweep_store):
    return sweeps.create(sweep_store, Grid(epochs=[1, 2]), max_queued=99, key=None).id


def rows(database):
    with database.read() as session:
        return {table: session.scalars(select(table)).all() for table in
                (Job, Event, Trace, Sweep, SweepJob)}  # fmt: skip


def test_a_final_job_is_deleted_with_all_that_belongs_to_it(
    database, store, sweep_store, checkpoints
):
    other, job = create(store), create(store)
    weights = [InitialWeights(job_id=job_id, content=b"weights") for job_id in (other, job)]
    database.write(lambda session: session.add_all(weights))
    jobs.cancel(store, job)
    deletion.delete_job(sweep_store, checkpoints, job)
    assert store.job(job) is None
    left = rows(database)
    assert {row.job_id for row in (*left[Event], *left[Trace])} == {other}
    assert store.initial_weights(other) == b"weights"
    with pytest.raises(NotFound):
        deletion.delete_job(sweep_store, checkpoints, job)


def test_events_are_deleted_in_batches(store, sweep_store, checkpoints, monkeypatch):
    monkeypatch.setattr(job_store, "DELETE_BATCH_SIZE", 2)
    job = create(store)
    jobs.start(store, store.job(job))
    for batch in range(5):
        FencedWriter(store, job, 1).record("batch", {"batch": batch}, progress=None)
    jobs.cancel(store, job)
    deletion.delete_job(sweep_store, checkpoints, job)
    assert store.events(job) == []


@pytest.mark.parametrize("status", ["queued", "running", "paused"])
def test_a_job_that_is_not_final_is_not_deleted(store, sweep_store, checkpoints, status):
    job = create(store, status=status)
    with pytest.raises(Conflict, match=f"The job is {status} and cannot be deleted"):
        deletion.delete_job(sweep_store, checkpoints, job)
    assert store.job(job)


def test_a_sweep_is_deleted_with_its_jobs(database, store, sweep_store, checkpoints):
    other = create(store)
    sweep_id = create_sweep(sweep_store)
    job_ids = [job.id for job in sweep_store.jobs(sweep_id)]
    with pytest.raises(Conflict, match="Cancel it first"):
        deletion.delete_sweep(sweep_store, sweep_id)
    sweeps.cancel(sweep_store, sweep_id)
    with pytest.raises(Conflict, match=f"belongs to the sweep {sweep_id}"):
        deletion.delete_job(sweep_store, checkpoints, job_ids[0])
    deletion.delete_sweep(sweep_store, sweep_id)
    left = rows(database)
    assert [job.id for job in left[Job]] == [other]
    assert not left[Sweep] + left[SweepJob]
    assert {event.job_id for event in left[Event]} == {other}


def test_a_cancelled_sweep_whose_job_stores_its_version_is_not_deleted(store, sweep_store):
    sweep_id = create_sweep(sweep_store)
    storing = sweep_store.jobs(sweep_id)[0].id
    store.change_job(storing, values={"status": "running", "committing": True})
    sweeps.cancel(sweep_store, sweep_id)
    with pytest.raises(Conflict):
        deletion.delete_sweep(sweep_store, sweep_id)
    assert not deletion.delete_old(sweep_store, now() + timedelta(days=1))
    assert sweep_store.sweep(sweep_id)


def test_old_jobs_and_sweeps_are_deleted_batch_by_batch(store, sweep_store, monkeypatch):
    monkeypatch.setattr(deletion, "BATCH_SIZE", 2)
    old, new = now() - timedelta(days=8), now() - timedelta(days=6)
    old_jobs = [create(store, status="cancelled", finished_at=old) for _ in range(3)]
    new_job = create(store, status="cancelled", finished_at=new)
    paused = create(store, status="paused")
    old_sweep, new_sweep = create_sweep(sweep_store), create_sweep(sweep_store)
    for sweep_id, finished_at in ((old_sweep, old), (new_sweep, new)):
        sweeps.cancel(sweep_store, sweep_id)
        sweep_store.change(sweep_id, values={"finished_at": finished_at})
    before = now() - timedelta(days=7)
    assert deletion.delete_old(sweep_store, before)
    assert not deletion.delete_old(sweep_store, before)
    assert [store.job(job) for job in old_jobs] == [None] * 3
    assert sweep_store.sweep(old_sweep) is None
    assert store.job(new_job)
    assert store.job(paused)
    assert len(sweep_store.jobs(new_sweep)) == 2


def test_a_new_job_is_found_although_it_has_the_number_of_a_deleted_one(
    store, sweep_store, checkpoints
):
    existing, deleted = create(store), create(store)
    assert store.new_job_ids({existing}) == [deleted]
    jobs.cancel(store, deleted)
    deletion.delete_job(sweep_store, checkpoints, deleted)
    newest = [create(store), create(store)]
    assert store.new_job_ids({existing, deleted}) == newest
