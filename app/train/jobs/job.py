"""The life of a training job: its states, and the transitions between them.

    queued ──▶ running ──▶ succeeded | failed | cancelled
       ▲        │   │
       ├────────┘   │     the process ended: the job resumes from its saved state
       └── paused ◀─┘     a client pauses and resumes it

A client can cancel a job in any state that is not final.

Each transition names the states that it may start from, and the database applies it only there.
What the training process itself writes goes through `FencedWriter`.
"""

import secrets
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement

from app.database.jobs import MAX_RETRY_WAIT, JobStore
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


def create(
    store: JobStore,
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


def get(store: JobStore, job_id: str) -> Job:
    """Return a job. Raises NotFound."""
    if job := store.job(job_id):
        return job
    raise NotFound(f"There is no job {job_id!r}; GET /train lists them.")


def start(store: JobStore, job: Job) -> int | None:
    """Start the next attempt, and return its number; None if the job is not queued any more."""
    attempt = job.attempt + 1
    values = {"attempt": attempt, "started_at": job.started_at or now()}
    same = Job.attempt == job.attempt
    return attempt if _transition(store, job.id, Status.RUNNING, values, same) else None


def cancel(store: JobStore, job_id: str) -> Job:
    """End a job at the client's wish. Raises NotFound, Conflict."""
    return _request_transition(
        store, job_id, Status.CANCELLED, {"finished_at": now()}, "cancelled any more"
    )


def pause(store: JobStore, job_id: str) -> Job:
    """Stop a running job until it is resumed; its state is saved. Raises NotFound, Conflict."""
    return _request_transition(
        store, job_id, Status.PAUSED, {}, "paused: only a running job can be"
    )


def resume(store: JobStore, job_id: str) -> Job:
    """Queue a paused job again, at its old place. Raises NotFound, Conflict."""
    values = {"not_before": now()}
    reason = "resumed: only a paused job can be"
    return _request_transition(
        store, job_id, Status.QUEUED, values, reason, Job.status == Status.PAUSED
    )


def fail(store: JobStore, job_id: str, attempt: int, code: str, message: str) -> None:
    """End a job with an error, if this attempt is still the one that runs."""
    values = {"error": {"code": code, "message": message}, "finished_at": now()}
    _transition(store, job_id, Status.FAILED, values, Job.attempt == attempt)


def requeue(store: JobStore, job: Job) -> bool:
    """Queue a running job again: its process was stopped with the service, which is no failure.

    Says False where another has taken it over, or ended it.
    """
    return _transition(
        store, job.id, Status.QUEUED, {"not_before": now()}, *is_running_attempt(job.attempt)
    )


def record_crash(store: JobStore, job: Job, exit_code: int, back_off: float = BACK_OFF) -> None:
    """Queue a running job again since its process died, or fail it after too many crashes."""
    crashes, reason = job.crashes + 1, f"The training process died (exit code {exit_code})."
    if crashes < MAX_CRASHES:
        _retry(store, job.id, job.attempt, back_off * 2**crashes, {"crashes": crashes}, reason)
    else:
        message = f"{reason} It did so {crashes} times without getting any further."
        fail(store, job.id, job.attempt, "process_died", message)


def record_error(
    store: JobStore,
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
    store: JobStore, job_id: str, attempt: int, wait: float, values: dict[str, Any], reason: str
) -> None:
    not_before = now() + timedelta(seconds=min(MAX_RETRY_WAIT, wait))
    values = {"not_before": not_before, **values}
    _transition(
        store,
        job_id,
        Status.QUEUED,
        values,
        *is_running_attempt(attempt),
        event_data={"reason": reason},
    )


def is_running_attempt(attempt: int) -> tuple[ColumnElement[bool], ...]:
    """Return the condition that a job runs, and by this attempt."""
    return Job.status == Status.RUNNING, Job.attempt == attempt


def _request_transition(
    store: JobStore,
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
    store: JobStore,
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
        vital=True,
    )


def _check_idempotent(job: Job, hyperparameters: Hyperparameters) -> Job:
    seed = job.hyperparameters["seed"] if hyperparameters.seed is None else hyperparameters.seed
    if hyperparameters.model_dump(mode="json") | {"seed": seed} != job.hyperparameters:
        raise Conflict("This Idempotency-Key was used before, for other hyperparameters.")
    return job
