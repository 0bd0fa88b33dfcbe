"""`/train`: training jobs and their logs.

The routes only read and write the database. The supervisor runs the jobs.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import PlainTextResponse, StreamingResponse

from app.api import request_body
from app.api.dependencies import (
    STREAMING_HEADERS,
    IdempotencyKey,
    Limit,
    RequireTrain,
    Services,
    ServicesDep,
    add_log_fields,
)
from app.api.error_responses import (
    ACCESS_ERRORS,
    Responses,
    error_responses,
    headers,
    invalid_field_example,
)
from app.api.schemas import resources
from app.database.tables import Job as Row
from app.errors import BodyTooLarge, Conflict, MalformedRequest, NotFound, NotReady, QueueFull
from app.train.jobs import events
from app.train.jobs import job as jobs
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.jobs.job import Status

router = APIRouter(
    prefix="/train",
    tags=["train"],
    responses=error_responses(*ACCESS_ERRORS, NotReady),
    dependencies=[RequireTrain],
)

ID: Final = {"job_id": "$response.body#/id"}
LINKED_OPERATIONS: Final = ("get_job", "get_job_events", "cancel_job", "pause_job", "resume_job")
CREATE_RESPONSES: Final[Responses] = {
    202: {
        "headers": headers("Location"),
        "links": {name: {"operationId": name, "parameters": ID} for name in LINKED_OPERATIONS},
    }
}
LOG_EXAMPLE: Final = "==>>> epoch: 0, batch index: 100, train loss: 1.97\n"
LOG_RESPONSES: Final[Responses] = {200: {"content": {"text/plain": {"example": LOG_EXAMPLE}}}}
INVALID_LIMIT: Final = invalid_field_example("limit", "Input should be less than or equal to 1000")
CREATE_BODY: Final = request_body.json_request_body(Hyperparameters, required=False)
TEXT: Final = "text/plain; charset=utf-8"


@router.post(
    "",
    status_code=202,
    summary="Queue a training job",
    operation_id="create_job",
    openapi_extra=CREATE_BODY,
    responses=CREATE_RESPONSES
    | error_responses(
        *(MalformedRequest, Conflict, BodyTooLarge, QueueFull),
        invalid_field_example("epochs", "Input should be less than or equal to 1000"),
    ),
)
async def create(
    request: Request,
    response: Response,
    services: ServicesDep,
    idempotency_key: IdempotencyKey,
) -> resources.Job:
    """All fields and the body itself are optional. The default is the tutorial's training loop."""
    hyperparameters = await request_body.read_json(request, Hyperparameters)
    row = await asyncio.to_thread(
        jobs.create,
        services.job_store,
        hyperparameters,
        max_queued=services.settings.train_queue,
        key=idempotency_key,
        trace_context=services.tracing.inject() if services.tracing else None,
    )
    add_log_fields(request, services, job_id=row.id)
    response.headers["Location"] = f"/train/{row.id}"
    return resources.Job.model_validate(row)


@router.get(
    "", summary="List jobs, newest first", responses=error_responses(NotFound, INVALID_LIMIT)
)
def list_jobs(
    services: ServicesDep,
    status: Status | None = None,
    after: Annotated[
        str | None, Query(description="id of the last job of the previous page")
    ] = None,
    limit: Limit = 100,
) -> resources.Jobs:
    """Return one page. `after` is the id of the last job of the previous page."""
    cursor = jobs.get(services.job_store, after).number if after else None
    rows = services.job_store.jobs(status, cursor, limit + 1)
    return resources.Jobs(data=_to_jobs(services, *rows[:limit]), has_more=len(rows) > limit)


@router.get("/{job_id}", summary="Get a job", responses=error_responses(NotFound))
def get_job(job_id: str, services: ServicesDep) -> resources.Job:
    """`progress.eta` is in seconds; `epochs` gets one entry for each finished epoch."""
    return _to_jobs(services, jobs.get(services.job_store, job_id))[0]


@router.post(
    "/{job_id}/cancel",
    status_code=202,
    summary="Cancel a job",
    operation_id="cancel_job",
    responses=error_responses(NotFound, Conflict),
)
def cancel(job_id: str, services: ServicesDep) -> resources.Job:
    """A queued job never starts. A running job ends without a version."""
    return _to_jobs(services, jobs.cancel(services.job_store, job_id))[0]


@router.post(
    "/{job_id}/pause",
    status_code=202,
    summary="Pause a job",
    operation_id="pause_job",
    responses=error_responses(NotFound, Conflict),
)
def pause(job_id: str, services: ServicesDep) -> resources.Job:
    """A running job saves its state and stops; the next job of the queue may start."""
    return _to_jobs(services, jobs.pause(services.job_store, job_id))[0]


@router.post(
    "/{job_id}/resume",
    status_code=202,
    summary="Resume a job",
    operation_id="resume_job",
    responses=error_responses(NotFound, Conflict),
)
def resume(job_id: str, services: ServicesDep) -> resources.Job:
    """A paused job is queued again and resumes from its saved state."""
    return _to_jobs(services, jobs.resume(services.job_store, job_id))[0]


@router.get(
    "/{job_id}/log",
    summary="Get the log of a job",
    operation_id="get_job_log",
    response_class=PlainTextResponse,
    responses=LOG_RESPONSES
    | error_responses(NotFound, invalid_field_example("follow", "Input should be a valid boolean")),
)
async def read_log(job_id: str, services: ServicesDep, follow: bool = False) -> Response:
    """Return the log in the tutorial's format. With `follow`, stream it until the job finishes."""
    await asyncio.to_thread(jobs.get, services.job_store, job_id)
    if follow:
        return StreamingResponse(_stream_log(services, job_id), 200, STREAMING_HEADERS, TEXT)
    lines = await asyncio.to_thread(lambda: [*events.read_log(services.job_store, job_id)])
    return PlainTextResponse("".join(lines))


def _to_jobs(services: Services, *rows: Row) -> list[resources.Job]:
    sweeps = services.sweep_store.sweep_ids_by_job([row.id for row in rows])
    job_models = (resources.Job.model_validate(row) for row in rows)
    return [job.model_copy(update={"sweep": sweeps.get(job.id)}) for job in job_models]


async def _stream_log(services: Services, job_id: str) -> AsyncIterator[str]:
    async for page in services.event_stream.subscribe(job_id, 0, services.draining):
        yield "".join(events.lines(page))
