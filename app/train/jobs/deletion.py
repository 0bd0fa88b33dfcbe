"""Deletion of final jobs and of finished sweeps, for a client or after `MYNET_KEEP_JOBS_DAYS`.

Versions stay. The card of a version names its job as text, with the hyperparameters and epochs.
"""

from datetime import datetime
from typing import Final

from app.database.sweeps import SweepStore
from app.errors import Conflict
from app.train.jobs import job as jobs
from app.train.jobs import sweep as sweeps
from app.train.jobs.checkpoints import Checkpoints
from app.train.jobs.job import Status

BATCH_SIZE: Final = 100


def delete_job(store: SweepStore, checkpoints: Checkpoints, job_id: str) -> None:
    """Delete a final job with its events and checkpoints. Raises NotFound, Conflict."""
    job = jobs.get(store.job_store, job_id)
    if sweep_id := store.sweep_ids_by_job([job_id]).get(job_id):
        raise Conflict(f"The job belongs to the sweep {sweep_id}. Delete that sweep.")
    if not Status(job.status).is_final:
        raise Conflict(f"The job is {job.status} and cannot be deleted. Cancel it first.")
    store.job_store.delete_jobs([job_id])
    # After a crash in between, the supervisor deletes the checkpoints of jobs that do not exist.
    checkpoints.delete(job_id)


def delete_sweep(store: SweepStore, sweep_id: str) -> None:
    """Delete a finished sweep with its jobs and their events. Raises NotFound, Conflict."""
    sweep = sweeps.get(store, sweep_id)
    if sweep.finished_at is None or not store.have_jobs_ended(sweep_id):
        raise Conflict(
            f"The sweep is {sweep.status}, and some of its jobs have not ended, so it cannot be "
            "deleted. Cancel it first, or wait until they have ended."
        )
    store.delete(sweep_id)


def delete_old(store: SweepStore, before: datetime) -> bool:
    """Delete a batch of the jobs and sweeps that finished before then.

    Returns whether there may be more.
    """
    job_ids = store.job_store.old_jobs(before, BATCH_SIZE)
    if job_ids:
        store.job_store.delete_jobs(job_ids)
    sweep_ids = store.old_sweeps(before, BATCH_SIZE)
    deletable = [sweep_id for sweep_id in sweep_ids if store.have_jobs_ended(sweep_id)]
    for sweep_id in deletable:
        store.delete(sweep_id)
    return BATCH_SIZE in (len(job_ids), len(deletable))
