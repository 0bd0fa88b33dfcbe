"""The life of a training job, on one screen.

What enters: what clients, the supervisor and the training process want to happen to a job. What
leaves: the job in its next state, and an event that tells of it. This module does not know how a
network is trained, nor who asks.

    queued ──▶ running ──▶ succeeded | failed | cancelled
       ▲        │   │
       ├────────┘   │     its process ended, not the job: it goes on from its saved state
       └── paused ◀─┘     at the client's wish, and back

A job that waits, queued or paused, can be cancelled, too.

Each change names the states that it may start from, and the database applies it only there; a
training process names its attempt, too, so that what an older attempt still writes is refused.
"""

import secrets
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement

from app.database.store import LONGEST_WAIT, Store
from app.database.tables import Base, Event, Job, Trace, TraceContext, now
from app.errors import Conflict, NotFound, QueueFull
from app.train.jobs.hyperparameters import Hyperparameters


class Status(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return not TRANSITIONS[self]


TRANSITIONS: Final[dict[Status, frozenset[Status]]] = {
    Status.QUEUED: frozenset({Status.RUNNING, Status.CANCELLED}),
    Status.RUNNING: frozenset(
        {Status.QUEUED, Status.PAUSED, Status.SUCCEEDED, Status.FAILED, Status.CANCELLED}
    ),
    Status.PAUSED: frozenset({Status.QUEUED, Status.CANCELLED}),
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
}
MAX_CRASHES: Final = 10
MAX_ERRORS: Final = 3
RETRY_AFTER: Final = 30
# Seconds before a failed job is started again, times 2 to the power of its failures.
BACK_OFF: Final = 0.5


class Superseded(Exception):
    """This attempt is no longer the one that may write: cancelled, or taken over."""


def create(
    store: Store,
    hyperparameters: Hyperparameters,
    *,
    max_queued: int,
    key: str | None,
    trace_context: TraceContext = None,
) -> Job:
    """Queue a job, or give the one that has this idempotency key. Raises QueueFull, Conflict."""
    if key is not None and (existing := store.job_by_key(key)):
        return _check_idempotent(existing, hyperparameters)
    job, rows = queued(hyperparameters, key, trace_context)
    stored = store.add_job(job, *rows, max_queued=max_queued)
    if stored is None:
        raise QueueFull(f"{max_queued} jobs are waiting already.", retry_after=RETRY_AFTER)
    return _check_idempotent(stored, hyperparameters)


def queued(
    hyperparameters: Hyperparameters, key: str | None, trace_context: TraceContext
) -> tuple[Job, list[Base]]:
    """Return a new job, and its first rows."""
    seed = secrets.randbelow(2**32) if hyperparameters.seed is None else hyperparameters.seed
    job = Job(
        id=secrets.token_hex(8),
        status=Status.QUEUED,
        created_at=now(),
        not_before=now(),
        hyperparameters=hyperparameters.model_dump(mode="json") | {"seed": seed},
        idempotency_key=key,
    )
    first = Event(job_id=job.id, at=now(), kind="status", data={"status": Status.QUEUED})
    return job, [
        first,
        *([Trace(job_id=job.id, trace_context=trace_context)] if trace_context else []),
    ]


def get(store: Store, job_id: str) -> Job:
    """Return a job. Raises NotFound."""
    if job := store.job(job_id):
        return job
    raise NotFound(f"There is no job {job_id!r}; GET /train lists them.")


def start(store: Store, job: Job) -> int | None:
    """Start the next attempt, and return its number; None if the job is not queued any more."""
    attempt = job.attempt + 1
    values = {"attempt": attempt, "started_at": job.started_at or now()}
    same = Job.attempt == job.attempt
    return attempt if _transition(store, job.id, Status.RUNNING, values, same) else None


def cancel(store: Store, job_id: str) -> Job:
    """End a job at the client's wish. Raises NotFound, Conflict."""
    return _request_transition(
        store, job_id, Status.CANCELLED, {"finished_at": now()}, "cancelled any more"
    )


def pause(store: Store, job_id: str) -> Job:
    """Stop a running job until it is resumed; its state is saved. Raises NotFound, Conflict."""
    return _request_transition(
        store, job_id, Status.PAUSED, {}, "paused: only a running job can be"
    )


def resume(store: Store, job_id: str) -> Job:
    """Queue a paused job again, at its old place. Raises NotFound, Conflict."""
    values = {"not_before": now()}
    reason = "resumed: only a paused job can be"
    return _request_transition(
        store, job_id, Status.QUEUED, values, reason, Job.status == Status.PAUSED
    )


def record(
    store: Store, job_id: str, attempt: int, kind: str, data: dict[str, Any], **values: Any
) -> None:
    """Record progress. Raises Superseded."""
    _change(store, job_id, attempt, values, (kind, data))


def reset_failures(store: Store, job_id: str, attempt: int) -> None:
    """Forget past crashes, since there is newly saved state. Raises Superseded."""
    _change(store, job_id, attempt, {"crashes": 0, "errors": 0})


def begin_finish(store: Store, job_id: str, attempt: int) -> None:
    """From here on the job cannot be cancelled or paused: its version is being stored, and may be
    live before the job says so, whatever becomes of its process. Raises Superseded.
    """
    _change(store, job_id, attempt, {"committing": True})


def succeed(store: Store, job_id: str, attempt: int, result: dict[str, Any]) -> None:
    """End a job with its result. Raises Superseded."""
    values = {"status": Status.SUCCEEDED, "result": result, "finished_at": now()}
    status = ("status", {"status": Status.SUCCEEDED})
    _change(store, job_id, attempt, values, ("result", result), status)


def fail(store: Store, job_id: str, attempt: int, code: str, message: str) -> None:
    """End a job with an error, if this attempt is still the one that runs."""
    values = {"error": {"code": code, "message": message}, "finished_at": now()}
    _transition(store, job_id, Status.FAILED, values, Job.attempt == attempt)


def requeue(store: Store, job: Job) -> bool:
    """Queue a running job again: its process was stopped with the service, which is no failure.

    Says False where another has taken it over, or ended it.
    """
    return _transition(store, job.id, Status.QUEUED, {"not_before": now()}, *_runs(job.attempt))


def record_crash(store: Store, job: Job, exit_code: int, back_off: float = BACK_OFF) -> None:
    """Queue a running job again since its process died, or fail it after too many crashes."""
    crashes, reason = job.crashes + 1, f"The training process died (exit code {exit_code})."
    if crashes < MAX_CRASHES:
        _retry(store, job.id, job.attempt, back_off * 2**crashes, {"crashes": crashes}, reason)
    else:
        message = f"{reason} It did so {crashes} times without getting any further."
        fail(store, job.id, job.attempt, "process_died", message)


def record_error(
    store: Store,
    job_id: str,
    attempt: int,
    code: str,
    message: str,
    back_off: float = BACK_OFF,
) -> None:
    """Queue a running job again since it raised an exception, or fail it the third time."""
    errors = get(store, job_id).errors + 1
    if errors < MAX_ERRORS:
        wait = back_off * 2**errors
        _retry(store, job_id, attempt, wait, {"errors": errors}, message)
    else:
        fail(store, job_id, attempt, code, message)


def _retry(
    store: Store, job_id: str, attempt: int, wait: float, values: dict[str, Any], reason: str
) -> None:
    not_before = now() + timedelta(seconds=min(LONGEST_WAIT, wait))
    values = {"not_before": not_before, **values}
    _transition(
        store, job_id, Status.QUEUED, values, *_runs(attempt), event_data={"reason": reason}
    )


def _change(
    store: Store,
    job_id: str,
    attempt: int,
    values: dict[str, Any],
    *events: tuple[str, dict[str, Any]],
) -> None:
    final = "status" in values
    if not store.change_job(
        job_id, *_runs(attempt), values=values, events=events, use_reserve=final
    ):
        raise Superseded(job_id)


def _runs(attempt: int) -> tuple[ColumnElement[bool], ...]:
    return Job.status == Status.RUNNING, Job.attempt == attempt


def _request_transition(
    store: Store,
    job_id: str,
    target: Status,
    values: dict[str, Any],
    reason: str,
    *where: ColumnElement[bool],
) -> Job:
    """Move a job at a client's wish, which comes too late where its version is being stored."""
    get(store, job_id)
    moved = _transition(store, job_id, target, values, Job.committing.is_(False), *where)
    job = get(store, job_id)
    if not moved:
        storing = job.committing and not Status(job.status).is_final
        state = "storing its version" if storing else job.status
        raise Conflict(f"The job is {state}; it cannot be {reason}.")
    return job


def _transition(
    store: Store,
    job_id: str,
    target: Status,
    values: dict[str, Any],
    *where: ColumnElement[bool],
    event_data: dict[str, Any] | None = None,
) -> bool:
    sources = [status for status in Status if target in TRANSITIONS[status]]
    fields: dict[str, Any] = {n: values[n] for n in ("attempt", "error") if n in values}
    return store.change_job(
        job_id,
        Job.status.in_(sources),
        *where,
        values={"status": target, **values},
        events=[("status", {"status": target, **fields, **(event_data or {})})],
        use_reserve=True,
    )


def _check_idempotent(job: Job, hyperparameters: Hyperparameters) -> Job:
    seed = job.hyperparameters["seed"] if hyperparameters.seed is None else hyperparameters.seed
    if hyperparameters.model_dump(mode="json") | {"seed": seed} != job.hyperparameters:
        raise Conflict("This Idempotency-Key was used before, for other hyperparameters.")
    return job
