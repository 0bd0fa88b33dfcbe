"""`/sweeps`: groups of jobs that differ in their hyperparameters."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from fastapi import Query, Request, Response

from app.api import request_body
from app.api.dependencies import IdempotencyKey, RequireTrain, ServicesDep, add_log_fields
from app.api.error_responses import (
    ACCESS_ERRORS,
    BODY_ERRORS,
    Responses,
    Router,
    error_responses,
    invalid_field_example,
    new_resource,
)
from app.api.schemas import resources
from app.database.sweeps import SweepStore
from app.database.tables import Job as JobRow
from app.database.tables import Sweep as SweepRow
from app.errors import (
    Conflict,
    NotFound,
    NotReady,
    QueueFull,
    TrainingUnavailable,
)
from app.train.jobs import deletion, sweep
from app.train.jobs.availability import check_training
from app.train.jobs.job import Status
from app.train.jobs.named_datasets import with_ids
from app.train.jobs.sweep_grid import Grid
from app.webhooks.subscriptions import subscriptions

router = Router(
    prefix="/sweeps",
    tags=["train"],
    responses=error_responses(*ACCESS_ERRORS, NotReady),
    dependencies=[RequireTrain],
)

MAX_PAGE_SIZE: Final = 100
CREATE_RESPONSES: Final[Responses] = {202: new_resource("sweep_id", "get_sweep", "cancel_sweep")}
INVALID_LIMIT: Final = invalid_field_example(
    "limit", f"Input should be less than or equal to {MAX_PAGE_SIZE}"
)
CREATE_BODY: Final = request_body.json_request_body(Grid, required=False)
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE_SIZE, description="the most sweeps to return")]


@router.post(
    "",
    status_code=202,
    summary="Queue a sweep",
    operation_id="create_sweep",
    openapi_extra=CREATE_BODY,
    responses=CREATE_RESPONSES
    | error_responses(
        *(*BODY_ERRORS, Conflict, QueueFull, TrainingUnavailable),
        invalid_field_example("seed", "contains a value twice; list each value once"),
    ),
)
async def create(
    request: Request,
    response: Response,
    services: ServicesDep,
    idempotency_key: IdempotencyKey,
) -> resources.Sweep:
    """Each hyperparameter is one value or a list. Each combination becomes a job, at most 64.
    In the queue, a sweep counts as one job. It promotes nothing: promote the version of its `best`.
    """
    grid = await request_body.read_json(request, Grid)
    await asyncio.to_thread(check_training, services.database)
    grid = await asyncio.to_thread(with_ids, grid, services.datasets)
    row = await asyncio.to_thread(
        sweep.create,
        services.sweep_store,
        grid,
        max_queued=services.settings.train_queue,
        key=idempotency_key,
        trace_context=services.tracing.inject() if services.tracing else None,
        webhooks=subscriptions(services.settings),
    )
    add_log_fields(request, services, sweep_id=row.id)
    response.headers["Location"] = f"/sweeps/{row.id}"
    return await asyncio.to_thread(to_sweep, services.sweep_store, row)


@router.get(
    "", summary="List sweeps, newest first", responses=error_responses(NotFound, INVALID_LIMIT)
)
def list_sweeps(
    services: ServicesDep,
    after: Annotated[
        str | None, Query(description="id of the last sweep of the previous page")
    ] = None,
    limit: Limit = 20,
) -> resources.Sweeps:
    """For the next page, set `after` to the id of the last sweep of this page."""
    store = services.sweep_store
    cursor = sweep.get(store, after).number if after else None
    rows = store.sweeps(cursor, limit + 1)
    data = to_sweeps(store, rows[:limit])
    return resources.Sweeps(data=data, has_more=len(rows) > limit)


@router.get("/{sweep_id}", summary="Get a sweep", responses=error_responses(NotFound))
def get_sweep(sweep_id: str, services: ServicesDep) -> resources.Sweep:
    """`best` is the best job so far; `PUT /models/current` makes its version live."""
    return to_sweep(services.sweep_store, sweep.get(services.sweep_store, sweep_id))


@router.post(
    "/{sweep_id}/cancel",
    status_code=202,
    summary="Cancel a sweep",
    operation_id="cancel_sweep",
    responses=error_responses(NotFound, Conflict),
)
def cancel(sweep_id: str, services: ServicesDep) -> resources.Sweep:
    """Cancels the unfinished jobs of the sweep. Versions that its jobs created are kept."""
    return to_sweep(services.sweep_store, sweep.cancel(services.sweep_store, sweep_id))


@router.delete(
    "/{sweep_id}",
    status_code=204,
    summary="Delete a sweep",
    operation_id="delete_sweep",
    responses=error_responses(NotFound, Conflict),
)
def delete(sweep_id: str, services: ServicesDep) -> None:
    """Deletes a finished sweep with its jobs. The versions that they created stay."""
    deletion.delete_sweep(services.sweep_store, sweep_id)


def to_sweep(store: SweepStore, row: SweepRow) -> resources.Sweep:
    return to_sweeps(store, [row])[0]


def to_sweeps(store: SweepStore, rows: Sequence[SweepRow]) -> list[resources.Sweep]:
    jobs_by_sweep = store.jobs_by_sweep([row.id for row in rows])
    with_version = [job.id for jobs in jobs_by_sweep.values() for job in jobs if job.result]
    losses = store.test_losses(with_version)
    return [_build_sweep(row, jobs_by_sweep[row.id], losses) for row in rows]


def _build_sweep(
    row: SweepRow, job_rows: Sequence[JobRow], losses: Mapping[str, float]
) -> resources.Sweep:
    grid = sweep.request_of(row)
    jobs = {job.id: _job(job, grid.swept) for job in job_rows}
    best_job = sweep.best(job_rows, losses)
    best_id = row.best or (best_job and best_job.id)
    return resources.Sweep(
        id=row.id,
        name=grid.name,
        status=_status(row, job_rows),
        created_at=row.created_at,
        finished_at=row.finished_at,
        hyperparameters=row.request,
        jobs=[*jobs.values()],
        best=_best(jobs[best_id], losses) if best_id else None,
        error=row.error,
    )


def _status(row: SweepRow, job_rows: Sequence[JobRow]) -> Any:
    is_waiting = all(job.status == Status.QUEUED and job.progress is None for job in job_rows)
    return "queued" if is_waiting and row.status == sweep.Status.RUNNING else row.status


def _job(job: JobRow, swept: Sequence[str]) -> resources.SweepJob:
    result: dict[str, Any] = job.result or {}
    return resources.SweepJob(
        id=job.id,
        hyperparameters={name: job.hyperparameters[name] for name in swept},
        status=Status(job.status),
        fraction=(job.progress or {}).get("fraction", 0.0),
        test_accuracy=result.get("test_accuracy"),
        version=result.get("version"),
    )


def _best(job: resources.SweepJob, losses: Mapping[str, float]) -> resources.BestJob:
    return resources.BestJob(**job.model_dump(), test_loss=losses.get(job.id))
