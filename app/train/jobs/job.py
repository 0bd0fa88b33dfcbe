"""State machine of a training job.

    queued ──▶ running ──▶ succeeded | failed | cancelled
       ▲        │   │
       ├────────┘   │     the process ended: the job resumes from its saved state
       └── paused ◀─┘     a client pauses and resumes it

A client can cancel a job in any state that is not final.

Each transition names its source states, and the database applies it only if the job has one of
them. A worker process writes through `FencedWriter`.
"""

import secrets
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from enum import StrEnum
from functools import partial
from typing import Any, Final

from sqlalchemy import ColumnElement

from app.database.jobs import MAX_RETRY_WAIT, JobStore
from app.database.tables import Base, Event, InitialWeights, Job, Trace, TraceContext, now
from app.errors import Conflict, NotFound, QueueFull
from app.train.jobs.hyperparameters import Hyperparameters, Init
from app.train.jobs.named_datasets import check_stored
from app.train.jobs.phase import Phase, phase_data
from app.webhooks.delivery_store import DeliveryStore
from app.webhooks.outbox import store_messages
from app.webhooks.subscriptions import Subscription


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
# Seconds before a failed job is started again, multiplied by 2 for each failure.
BACK_OFF: Final = 0.5
# Returns the weights that a job begins with, in safetensors format.
ReadInit = Callable[[Init], bytes]


def _no_init(init: Init) -> bytes:
    raise ValueError(f"the caller cannot read {init}")


def create(
    store: JobStore,
    hyperparameters: Hyperparameters,
    *,
    max_queued: int,
    key: str | None,
    trace_context: TraceContext = None,
    read_init: ReadInit = _no_init,
    webhooks: Sequence[Subscription] = (),
) -> Job:
    """Queue a job, or return the one with this idempotency key.

    Raises QueueFull, Conflict, InvalidField if a data set was deleted. `read_init` returns the
    weights that the job begins with, and may raise, too. They are stored with the job.
    """
    if key is not None and (existing := store.job_by_key(key)):
        return _check_idempotent(store, existing, hyperparameters, webhooks)
    job, rows = queued(hyperparameters, key, trace_context, webhooks)
    if hyperparameters.init:
        rows.append(InitialWeights(job_id=job.id, content=read_init(hyperparameters.init)))
    check = partial(check_stored, hyperparameters)
    stored = store.add_job(job, *rows, max_queued=max_queued, check=check)
    if stored is None:
        raise queue_full(max_queued)
    return _check_idempotent(store, stored, hyperparameters, webhooks)


def queue_full(max_queued: int) -> QueueFull:
    """Return the error for a job that the queue has no room for."""
    return QueueFull(
        f"The queue is full: {max_queued} jobs are waiting. Try again later.",
        retry_after=RETRY_AFTER,
    )


def queued(
    hyperparameters: Hyperparameters,
    key: str | None,
    trace_context: TraceContext,
    webhooks: Sequence[Subscription],
) -> tuple[Job, list[Base]]:
    """Return a new job and the rows that are stored with it."""
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
        *(subscription.row(job.id) for subscription in webhooks),
    ]


def get(store: JobStore, job_id: str) -> Job:
    """Return a job. Raises NotFound."""
    if job := store.job(job_id):
        return job
    raise NotFound(f"The job {job_id!r} does not exist. GET /train lists all jobs.")


def start(store: JobStore, job: Job) -> int | None:
    """Start the next attempt and return its number, or None if the job is no longer queued."""
    attempt = job.attempt + 1
    values = {"attempt": attempt, "started_at": job.started_at or now()}
    same = Job.attempt == job.attempt
    return attempt if _transition(store, job.id, Status.RUNNING, values, same) else None


def cancel(store: JobStore, job_id: str) -> Job:
    """Cancel a job for a client. Raises NotFound, Conflict."""
    values = {"finished_at": now()}
    return _request_transition(store, job_id, Status.CANCELLED, values, "cancelled")


def pause(store: JobStore, job_id: str) -> Job:
    """Stop a running job and save its state, until a client resumes it.

    Raises NotFound, Conflict.
    """
    action = "paused. Only a running job can be paused"
    return _request_transition(store, job_id, Status.PAUSED, {}, action)


def resume(store: JobStore, job_id: str) -> Job:
    """Requeue a paused job at its former place. Raises NotFound, Conflict."""
    values = {"not_before": now()}
    action = "resumed. Only a paused job can be resumed"
    return _request_transition(store, job_id, Status.QUEUED, values, action, {Status.PAUSED})


def fail(store: JobStore, job_id: str, attempt: int, code: str, message: str) -> None:
    """End a job with an error if this attempt still runs it."""
    values = {"error": {"code": code, "message": message}, "finished_at": now()}
    _transition(store, job_id, Status.FAILED, values, Job.attempt == attempt)


def requeue(store: JobStore, job: Job) -> bool:
    """Requeue a running job whose process was stopped with the service. This is not a failure.

    Returns False if another process has taken over or ended the job.
    """
    return _transition(
        store, job.id, Status.QUEUED, {"not_before": now()}, *is_running_attempt(job.attempt)
    )


def record_crash(store: JobStore, job: Job, reason: str, back_off: float = BACK_OFF) -> None:
    """Requeue a running job whose process died, or fail it after `MAX_CRASHES` crashes."""
    crashes = job.crashes + 1
    if crashes < MAX_CRASHES:
        _retry(store, job.id, job.attempt, back_off * 2**crashes, {"crashes": crashes}, reason)
    else:
        message = f"{reason} It crashed {crashes} times without saving any progress."
        fail(store, job.id, job.attempt, "process_died", message)


def record_error(
    store: JobStore,
    job_id: str,
    attempt: int,
    code: str,
    message: str,
    back_off: float = BACK_OFF,
) -> None:
    """Requeue a running job that raised an exception, or fail it after `MAX_ERRORS` errors."""
    job = store.job(job_id)
    if job is None:  # a client has cancelled and deleted it
        return
    errors = job.errors + 1
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
    """Return the condition that this attempt runs the job."""
    return Job.status == Status.RUNNING, Job.attempt == attempt


def _request_transition(
    store: JobStore,
    job_id: str,
    target: Status,
    values: dict[str, Any],
    action: str,
    sources: Collection[Status] = (),
) -> Job:
    """Move a job to `target` for a client. Raises Conflict if its version is being stored."""
    get(store, job_id)  # a client may send an id that the database does not take
    sources = sources or _sources(target)
    where = Job.committing.is_(False), Job.status.in_(sources)
    while not _transition(store, job_id, target, values, *where):
        job = get(store, job_id)
        storing = job.committing and not Status(job.status).is_final
        if storing or job.status not in sources:
            state = "storing its version" if storing else job.status
            raise Conflict(f"The job is {state} and cannot be {action}.")
        # It came to this state after the refusal, so it can be moved now.
    return get(store, job_id)


def _sources(target: Status) -> list[Status]:
    return [status for status in Status if target in TRANSITIONS[status]]


def _transition(
    store: JobStore,
    job_id: str,
    target: Status,
    values: dict[str, Any],
    *where: ColumnElement[bool],
    event_data: dict[str, Any] | None = None,
) -> bool:
    phase = phase_data(Phase.STARTING) if target is Status.RUNNING else None
    fields: dict[str, Any] = {n: values[n] for n in ("attempt", "error") if n in values}
    return store.change_job(
        job_id,
        Job.status.in_(_sources(target)),
        *where,
        values={"status": target, "phase": phase, **values},
        events=[("status", {"status": target, **fields, **(event_data or {})})],
        then=store_messages if target.is_final else None,
        vital=True,
    )


def _check_idempotent(
    store: JobStore,
    job: Job,
    hyperparameters: Hyperparameters,
    webhooks: Sequence[Subscription],
) -> Job:
    seed = job.hyperparameters["seed"] if hyperparameters.seed is None else hyperparameters.seed
    # A job of an older release lacks the fields that were added since, so they have their defaults.
    stored = Hyperparameters(**job.hyperparameters)
    if hyperparameters.model_copy(update={"seed": seed}) != stored:
        raise Conflict(
            f"The Idempotency-Key was used for the job {job.id}, with other hyperparameters. "
            "Send a new key."
        )
    webhook = DeliveryStore(store.database).requested_webhooks([job.id]).get(job.id)
    stored_webhook = webhook and Subscription(webhook.url, tuple(webhook.events))
    requested = (entry for entry in webhooks if not entry.from_settings)
    # A job that a client has just deleted has no webhook any longer.
    if stored_webhook != next(requested, None) and store.job(job.id):
        raise Conflict(
            f"The Idempotency-Key was used for the job {job.id}, with another webhook. "
            "Send a new key."
        )
    return job
