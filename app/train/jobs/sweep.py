"""The life of a sweep: a group of jobs, the best of which may go live.

What enters: what clients, the supervisor and the process at the end want to happen to a sweep. What
leaves: the sweep in its next state. This module does not know how a network is trained, nor how the
best of them passes the gate.

    running ──▶ succeeded | failed | cancelled

A sweep runs until all of its jobs have ended and the best of them has been before the gate. One
that is cancelled has ended as soon as its jobs are cancelled, too.
"""

import secrets
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement

from app.database.sweeps import Sweeps
from app.database.tables import Job, Sweep, TraceContext, now
from app.errors import Conflict, NotFound, QueueFull
from app.train.jobs import job as jobs
from app.train.jobs.job import RETRY_AFTER
from app.train.jobs.sweep_grid import Grid

MAX_CRASHES: Final = 5
IS_RUNNING: Final[ColumnElement[bool]] = Sweep.status == "running"


class Status(StrEnum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Superseded(Exception):
    """The sweep has ended: nothing may come of it any more."""


def create(
    sweeps: Sweeps,
    grid: Grid,
    *,
    max_queued: int,
    key: str | None,
    trace_context: TraceContext = None,
) -> Sweep:
    """Queue the jobs of a sweep, or give the one that has this key. Raises QueueFull, Conflict."""
    if key is not None and (existing := sweeps.by_key(key)):
        return _check_idempotent(existing, grid)
    drawn_seed = secrets.randbelow(2**32)
    queued = [
        jobs.queued(hyperparameters, None, trace_context)
        for hyperparameters in grid.jobs(drawn_seed)
    ]
    seed = drawn_seed if grid.seed is None else grid.seed
    sweep = Sweep(
        id=secrets.token_hex(8),
        status=Status.RUNNING,
        created_at=now(),
        request=grid.model_dump(mode="json", exclude_unset=True) | {"seed": seed},
        idempotency_key=key,
    )
    rows = [row for _, rows in queued for row in rows]
    stored = sweeps.add(sweep, [job for job, _ in queued], rows, max_queued=max_queued)
    if stored is None:
        raise QueueFull(
            f"{max_queued} jobs and sweeps are waiting already.", retry_after=RETRY_AFTER
        )
    return _check_idempotent(stored, grid)


def get(sweeps: Sweeps, sweep_id: str) -> Sweep:
    """Return a sweep. Raises NotFound."""
    if sweep := sweeps.sweep(sweep_id):
        return sweep
    raise NotFound(f"There is no sweep {sweep_id!r}; GET /sweeps lists them.")


def request_of(sweep: Sweep) -> Grid:
    """Return what was asked for, with the seed that was drawn."""
    return Grid.model_validate(sweep.request)


def cancel(sweeps: Sweeps, sweep_id: str) -> Sweep:
    """Cancel what of a sweep has not ended: nothing of it goes live. Raises NotFound, Conflict."""
    sweep = get(sweeps, sweep_id)
    free = Sweep.committing.is_(False)
    if not sweeps.change(sweep_id, IS_RUNNING, free, values={"status": Status.CANCELLED}):
        sweep = get(sweeps, sweep_id)
        state = "going live" if sweep.status == Status.RUNNING else sweep.status
        raise Conflict(f"The sweep is {state}; it cannot be cancelled any more.")
    finish_cancelling(sweeps, sweep)
    return get(sweeps, sweep_id)


def finish_cancelling(sweeps: Sweeps, sweep: Sweep) -> None:
    """Cancel the jobs of a sweep that is cancelled; whoever began it may have died."""
    for job in sweeps.jobs(sweep.id):
        with suppress(Conflict):  # it has ended, or is storing its version
            jobs.cancel(sweeps.store, job.id)
    sweeps.change(sweep.id, Sweep.finished_at.is_(None), values={"finished_at": now()})


def finish_without_best(sweeps: Sweeps, sweep: Sweep) -> None:
    """End a sweep whose jobs have ended, none with a version."""
    states = {job.status for job in sweeps.jobs(sweep.id)}
    if states == {jobs.Status.CANCELLED}:
        _end(sweeps, sweep.id, Status.CANCELLED)
    else:
        fail(sweeps, sweep.id, "no_version", "None of the sweep's jobs succeeded.")


def begin_finish(
    sweeps: Sweeps, sweep_id: str, expected_live: int | None, result: dict[str, Any]
) -> None:
    """Record that the sweep's best goes live in place of `expected_live`: from here on the sweep
    cannot be cancelled, whatever becomes of the process. Raises Superseded.
    """
    values = {"committing": True, "expected_live": expected_live, "result": result}
    if not sweeps.change(sweep_id, IS_RUNNING, values=values):
        raise Superseded(sweep_id)


def succeed(sweeps: Sweeps, sweep_id: str, best: str, result: dict[str, Any]) -> None:
    """End a sweep with its result; `best` is a job. Raises Superseded."""
    if not _end(sweeps, sweep_id, Status.SUCCEEDED, best=best, result=result):
        raise Superseded(sweep_id)


def fail(sweeps: Sweeps, sweep_id: str, code: str, message: str) -> None:
    """End a sweep with an error, if it has not ended."""
    _end(sweeps, sweep_id, Status.FAILED, error={"code": code, "message": message})


def record_crash(sweeps: Sweeps, sweep_id: str, reason: str) -> int:
    """Count a death of the process at the end, and fail the sweep after too many; say how many."""
    crashes = get(sweeps, sweep_id).crashes + 1
    sweeps.change(sweep_id, IS_RUNNING, values={"crashes": crashes})
    if crashes >= MAX_CRASHES:
        fail(sweeps, sweep_id, "process_died", f"{reason} It was tried {crashes} times.")
    return crashes


def ranked(sweeps: Sweeps, job_rows: Sequence[Job]) -> list[Job]:
    """Return the jobs that made a version, the best first: by test accuracy, then by test loss; of
    two that are the same the older one.
    """
    done = [job for job in job_rows if job.result]
    by_accuracy = sorted(done, key=lambda job: (-_accuracy(job), job.number))
    tied = [job for job in by_accuracy if _accuracy(job) == _accuracy(by_accuracy[0])]
    if len(tied) > 1:
        losses = {job.id: _loss(sweeps.store.job(job.id)) for job in tied}
        tied.sort(key=lambda job: (losses[job.id], job.number))
    return tied + by_accuracy[len(tied) :]


def _accuracy(job: Job) -> float:
    return float((job.result or {})["test_accuracy"])


def _loss(job: Job | None) -> float:
    return float(job.epochs[-1]["test_loss"]) if job and job.epochs else float("inf")


def _end(sweeps: Sweeps, sweep_id: str, status: Status, **values: Any) -> bool:
    values |= {"status": status, "finished_at": now()}
    return sweeps.change(sweep_id, IS_RUNNING, values=values)


def _check_idempotent(sweep: Sweep, grid: Grid) -> Sweep:
    seed = sweep.request["seed"] if grid.seed is None else grid.seed
    if grid.model_dump(mode="json", exclude_unset=True) | {"seed": seed} != sweep.request:
        raise Conflict("This Idempotency-Key was used before, for another sweep.")
    return sweep
