"""`/sweeps`: groups of jobs that differ in their hyperparameters.

What enters: hyperparameters, each one value or a list, and sweeps' ids. What leaves: sweeps. This
module does not know how the best of a sweep is found and goes live.
"""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response

from app.api import request_body
from app.api.dependencies import IdempotencyKey, RequireTrain, ServicesDep, add_log_fields
from app.api.error_responses import GUARD, Responses, invalid_field_example, error_responses, headers
from app.api.schemas import resources
from app.database.sweeps import Sweeps
from app.database.tables import Job as JobRow
from app.database.tables import Sweep as SweepRow
from app.errors import BodyTooLarge, QueueFull, Conflict, MalformedRequest, NotFound, NotReady
from app.train.jobs import sweep
from app.train.jobs.job import Status
from app.train.jobs.sweep_grid import Grid

router = APIRouter(
    prefix="/sweeps",
    tags=["train"],
    responses=error_responses(*GUARD, NotReady),
    dependencies=[RequireTrain],
)

MOST: Final = 100
ID: Final = {"sweep_id": "$response.body#/id"}
QUEUED: Final[Responses] = {
    202: {
        "headers": headers("Location"),
        "links": {
            name: {"operationId": name, "parameters": ID} for name in ("get_sweep", "cancel_sweep")
        },
    }
}
NO_LIMIT: Final = invalid_field_example("limit", f"Input should be less than or equal to {MOST}")
WANTED: Final = request_body.documented(Grid, required=False)
Limit = Annotated[int, Query(ge=1, le=MOST, description="most to give at once")]


@router.post(
    "",
    status_code=202,
    summary="Queue a sweep",
    operation_id="create_sweep",
    openapi_extra=WANTED,
    responses=QUEUED
    | error_responses(
        *(MalformedRequest, Conflict, BodyTooLarge, QueueFull),
        invalid_field_example("seed", "has a value twice: each makes jobs of its own"),
    ),
)
async def create(
    request: Request,
    response: Response,
    services: ServicesDep,
    idempotency_key: IdempotencyKey = None,
) -> resources.Sweep:
    """Each hyperparameter is one value or a list; each combination makes a job, at most 64 of them.
    In the queue a sweep counts as one. `promote` is for the best of the jobs.
    """
    wanted = await request_body.read_json(request, Grid)
    created = await asyncio.to_thread(
        sweep.create,
        services.sweeps,
        wanted,
        most_queued=services.settings.train_queue,
        key=idempotency_key or None,
        trail=services.tracing.inject() if services.tracing else None,
    )
    add_log_fields(request, services, sweep_id=created.id)
    response.headers["Location"] = f"/sweeps/{created.id}"
    return await asyncio.to_thread(_shown, services.sweeps, created)


@router.get("", summary="List sweeps, newest first", responses=error_responses(NotFound, NO_LIMIT))
def list_sweeps(
    services: ServicesDep,
    after: Annotated[str | None, Query(description="id of the last sweep seen")] = None,
    limit: Limit = 20,
) -> resources.Sweeps:
    """`after` is the id of the last sweep on the page before."""
    sweeps = services.sweeps
    before = sweep.get(sweeps, after).number if after else None
    found = sweeps.all(before, limit + 1)
    data = _all_shown(sweeps, found[:limit])
    return resources.Sweeps(data=data, has_more=len(found) > limit)


@router.get("/{sweep_id}", summary="Tell how a sweep is doing", responses=error_responses(NotFound))
def get_sweep(sweep_id: str, services: ServicesDep) -> resources.Sweep:
    """`best` is the best job so far; `result` says what became of it when all had ended."""
    return _shown(services.sweeps, sweep.get(services.sweeps, sweep_id))


@router.post(
    "/{sweep_id}/cancel",
    status_code=202,
    summary="Cancel a sweep",
    operation_id="cancel_sweep",
    responses=error_responses(NotFound, Conflict),
)
def cancel(sweep_id: str, services: ServicesDep) -> resources.Sweep:
    """Jobs that have not ended are cancelled; versions that were made stay, and none goes live."""
    return _shown(services.sweeps, sweep.cancel(services.sweeps, sweep_id))


def _shown(sweeps: Sweeps, row: SweepRow) -> resources.Sweep:
    return _all_shown(sweeps, [row])[0]


def _all_shown(sweeps: Sweeps, rows: Sequence[SweepRow]) -> list[resources.Sweep]:
    members = sweeps.jobs_of([row.id for row in rows])
    return [_told(sweeps, row, members[row.id]) for row in rows]


def _told(sweeps: Sweeps, row: SweepRow, members: Sequence[JobRow]) -> resources.Sweep:
    wanted = sweep.request_of(row)
    jobs = {job.id: _job(job, wanted.swept) for job in members}
    ranked = [row.best] if row.best else [job.id for job in sweep.ranked(sweeps, members)]
    return resources.Sweep(
        id=row.id,
        name=wanted.name,
        status=_status(row, members),
        created_at=row.created_at,
        finished_at=row.finished_at,
        hyperparameters=row.request,
        jobs=[*jobs.values()],
        best=jobs[ranked[0]] if ranked else None,
        result=row.result if row.status == sweep.Status.SUCCEEDED else None,
        error=row.error,
    )


def _status(row: SweepRow, members: Sequence[JobRow]) -> Any:
    waits = all(job.status == Status.QUEUED and job.progress is None for job in members)
    return "queued" if waits and row.status == sweep.Status.RUNNING else row.status


def _job(job: JobRow, varied: Sequence[str]) -> resources.SweepJob:
    result: dict[str, Any] = job.result or {}
    return resources.SweepJob(
        id=job.id,
        hyperparameters={name: job.hyperparameters[name] for name in varied},
        status=Status(job.status),
        fraction=(job.progress or {}).get("fraction", 0.0),
        test_accuracy=result.get("test_accuracy"),
        version=result.get("version"),
    )
