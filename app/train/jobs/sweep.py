"""State machine of a sweep, a group of jobs that differ in their hyperparameters.

    running ──▶ succeeded | failed | cancelled

A sweep runs until all of its jobs have ended. It succeeds if at least one job created a version. It
names the best job and promotes nothing: the test images select the best job, so a test on the same
images cannot show whether it beats the live version.
"""

import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement

from app.database.sweeps import SweepStore
from app.database.tables import Job, Sweep, TraceContext, now
from app.errors import Conflict, NotFound, QueueFull
from app.train.jobs import job as jobs
from app.train.jobs.job import RETRY_AFTER
from app.train.jobs.named_datasets import check_stored
from app.train.jobs.sweep_grid import Grid
from app.webhooks.subscriptions import Subscription

IS_RUNNING: Final[ColumnElement[bool]] = Sweep.status == "running"


class Status(StrEnum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


def create(
    store: SweepStore,
    grid: Grid,
    *,
    max_queued: int,
    key: str | None,
    trace_context: TraceContext = None,
    webhooks: Sequence[Subscription] = (),
) -> Sweep:
    """Queue the jobs of a sweep, or return the sweep with this idempotency key.

    Raises QueueFull, Conflict, InvalidField if a data set was deleted.
    """
    if key is not None and (existing := store.by_key(key)):
        return _check_idempotent(existing, grid)
    drawn_seed = secrets.randbelow(2**32)
    queued = [
        jobs.queued(hyperparameters, None, trace_context, webhooks)
        for hyperparameters in grid.jobs(drawn_seed)
    ]
    sweep = Sweep(
        id=secrets.token_hex(8),
        status=Status.RUNNING,
        created_at=now(),
        request=_stored_request(grid, drawn_seed),
        idempotency_key=key,
    )
    rows = [row for _, rows in queued for row in rows]
    new_jobs, check = [job for job, _ in queued], partial(check_stored, grid)
    stored = store.add(sweep, new_jobs, rows, max_queued=max_queued, check=check)
    if stored is None:
        raise QueueFull(
            f"The queue is full: {max_queued} jobs and sweeps are waiting. Try again later.",
            retry_after=RETRY_AFTER,
        )
    return _check_idempotent(stored, grid)


def get(store: SweepStore, sweep_id: str) -> Sweep:
    """Return a sweep. Raises NotFound."""
    if sweep := store.sweep(sweep_id):
        return sweep
    raise NotFound(f"The sweep {sweep_id!r} does not exist. GET /sweeps lists all sweeps.")


def request_of(sweep: Sweep) -> Grid:
    """Return the request of a sweep, with the seed that was drawn."""
    return Grid.model_validate(sweep.request)


def cancel(store: SweepStore, sweep_id: str) -> Sweep:
    """Cancel a sweep and its unfinished jobs. Raises NotFound, Conflict."""
    get(store, sweep_id)  # a client may send an id that the database does not take
    is_changed = store.change(sweep_id, IS_RUNNING, values={"status": Status.CANCELLED})
    sweep = get(store, sweep_id)
    if not is_changed:
        raise Conflict(f"The sweep is {sweep.status} and cannot be cancelled.")
    _finish_cancelling(store, sweep)
    return get(store, sweep_id)


def end_finished(store: SweepStore) -> None:
    """End the sweeps whose jobs have ended, and finish a cancellation whose process died."""
    for sweep in store.unfinished():
        if sweep.status == Status.CANCELLED:
            _finish_cancelling(store, sweep)
        elif store.have_jobs_ended(sweep.id):
            store.change(sweep.id, IS_RUNNING, values=_outcome(store, sweep))


def best(job_rows: Sequence[Job], test_losses: Mapping[str, float]) -> Job | None:
    """Return the best of the jobs that created a version, or None if none did.

    The best has the highest test accuracy, then the lowest test loss, then the lowest number.
    """

    def rank(job: Job) -> tuple[float, float, int]:
        accuracy = (job.result or {})["test_accuracy"]
        return -accuracy, test_losses.get(job.id, float("inf")), job.number

    return min((job for job in job_rows if job.result), key=rank, default=None)


def _finish_cancelling(store: SweepStore, sweep: Sweep) -> None:
    for job in store.jobs(sweep.id):
        # The job has ended, or is storing its version; or another call has finished, and the sweep
        # is deleted.
        with suppress(Conflict, NotFound):
            jobs.cancel(store.job_store, job.id)
    store.change(sweep.id, Sweep.finished_at.is_(None), values={"finished_at": now()})


def _outcome(store: SweepStore, sweep: Sweep) -> dict[str, Any]:
    """Return the final values of a sweep whose jobs have ended."""
    job_rows = store.jobs(sweep.id)
    best_job = best(job_rows, store.test_losses([job.id for job in job_rows]))
    if best_job:
        return {"status": Status.SUCCEEDED, "best": best_job.id, "finished_at": now()}
    if {job.status for job in job_rows} == {jobs.Status.CANCELLED}:
        return {"status": Status.CANCELLED, "finished_at": now()}
    error = {
        "code": "no_version",
        "message": "No job of the sweep succeeded. The errors of its jobs show the causes.",
    }
    return {"status": Status.FAILED, "error": error, "finished_at": now()}


def _stored_request(grid: Grid, seed: int) -> dict[str, Any]:
    fields = grid.model_dump(mode="json", exclude_unset=True, exclude={"promote"})
    return fields | {"seed": seed if grid.seed is None else grid.seed}


def _check_idempotent(sweep: Sweep, grid: Grid) -> Sweep:
    if _stored_request(grid, sweep.request["seed"]) != sweep.request:
        raise Conflict(
            f"The Idempotency-Key was used for the sweep {sweep.id}, with another request. "
            "Send a new key."
        )
    return sweep
