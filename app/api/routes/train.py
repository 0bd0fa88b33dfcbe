"""`/train`: training jobs and their logs.

The routes only read and write the database. The supervisor runs the jobs.
"""

import asyncio
from typing import Annotated, Final

from fastapi import Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse

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
    BODY_ERRORS,
    INVALID_LIMIT,
    Responses,
    Router,
    error_responses,
    invalid_field_example,
    new_resource,
)
from app.api.schemas import resources, training
from app.api.schemas.webhooks import Delivery, Webhook
from app.database.database import Database
from app.database.sweeps import SweepStore
from app.database.tables import Job as Row
from app.errors import (
    Conflict,
    NotFound,
    NotReady,
    QueueFull,
    TrainingUnavailable,
)
from app.train.jobs import deletion, events
from app.train.jobs import job as jobs
from app.train.jobs.availability import check_training
from app.train.jobs.hyperparameters import Hyperparameters, TrainRequest
from app.train.jobs.job import Status
from app.train.jobs.named_datasets import with_ids
from app.train.plan.dry_run import dry_run
from app.webhooks.delivery_store import DeliveryStore
from app.webhooks.subscriptions import subscriptions

router = Router(
    prefix="/train",
    tags=["train"],
    responses=error_responses(*ACCESS_ERRORS, NotReady),
    dependencies=[RequireTrain],
)

LINKED_OPERATIONS: Final = ("get_job", "get_job_events", "cancel_job", "pause_job", "resume_job")
CREATE_RESPONSES: Final[Responses] = {
    200: {"model": training.DryRun, "description": "The plan of a job, with `dry_run`"},
    202: new_resource("job_id", *LINKED_OPERATIONS),
}
LOG_EXAMPLE: Final = "==>>> epoch: 0, batch index: 100, train loss: 1.97\n"
LOG_RESPONSES: Final[Responses] = {200: {"content": {"text/plain": {"example": LOG_EXAMPLE}}}}
CREATE_BODY: Final = request_body.json_request_body(TrainRequest, required=False)
TEXT: Final = "text/plain; charset=utf-8"


@router.post(
    "",
    status_code=202,
    response_model=resources.Job,
    summary="Queue a training job",
    operation_id="create_job",
    openapi_extra=CREATE_BODY,
    responses=CREATE_RESPONSES
    | error_responses(
        *(*BODY_ERRORS, Conflict, QueueFull, TrainingUnavailable),
        invalid_field_example("epochs", "Input should be less than or equal to 1000"),
    ),
)
async def create(
    request: Request,
    response: Response,
    services: ServicesDep,
    idempotency_key: IdempotencyKey,
) -> resources.Job | JSONResponse:
    """All fields and the body itself are optional. The default is the tutorial's training loop."""
    body = await request_body.read_json(request, TrainRequest)
    webhooks = subscriptions(services.settings, body.webhook)
    await asyncio.to_thread(check_training, services.database)
    hyperparameters = await asyncio.to_thread(with_ids, body.hyperparameters, services.datasets)
    if body.dry_run:
        return await asyncio.to_thread(_dry_run, services, hyperparameters)
    row = await asyncio.to_thread(
        jobs.create,
        services.job_store,
        hyperparameters,
        max_queued=services.settings.train_queue,
        key=idempotency_key,
        trace_context=services.tracing.inject() if services.tracing else None,
        read_init=services.read_init,
        webhooks=webhooks,
    )
    add_log_fields(request, services, job_id=row.id)
    response.headers["Location"] = f"/train/{row.id}"
    return (await asyncio.to_thread(to_jobs, services.database, row))[0]


def _dry_run(services: Services, hyperparameters: Hyperparameters) -> JSONResponse:
    if hyperparameters.init:
        services.read_init(hyperparameters.init)
    plan = dry_run(services.job_store, services.datasets, services.settings, hyperparameters)
    return JSONResponse(training.DryRun.model_validate(plan).model_dump(mode="json"))


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
    return resources.Jobs(
        data=to_jobs(services.database, *rows[:limit]), has_more=len(rows) > limit
    )


@router.get("/{job_id}", summary="Get a job", responses=error_responses(NotFound))
def get_job(job_id: str, services: ServicesDep) -> resources.Job:
    """`progress.eta` is in seconds; `epochs` gets one entry for each finished epoch."""
    return to_jobs(services.database, jobs.get(services.job_store, job_id))[0]


@router.post(
    "/{job_id}/cancel",
    status_code=202,
    summary="Cancel a job",
    operation_id="cancel_job",
    responses=error_responses(NotFound, Conflict),
)
def cancel(job_id: str, services: ServicesDep) -> resources.Job:
    """A queued job never starts. A running job ends without a version."""
    return to_jobs(services.database, jobs.cancel(services.job_store, job_id))[0]


@router.post(
    "/{job_id}/pause",
    status_code=202,
    summary="Pause a job",
    operation_id="pause_job",
    responses=error_responses(NotFound, Conflict),
)
def pause(job_id: str, services: ServicesDep) -> resources.Job:
    """A running job saves its state and stops; the next job of the queue may start."""
    return to_jobs(services.database, jobs.pause(services.job_store, job_id))[0]


@router.post(
    "/{job_id}/resume",
    status_code=202,
    summary="Resume a job",
    operation_id="resume_job",
    responses=error_responses(NotFound, Conflict),
)
def resume(job_id: str, services: ServicesDep) -> resources.Job:
    """A paused job is queued again and resumes from its saved state."""
    return to_jobs(services.database, jobs.resume(services.job_store, job_id))[0]


@router.delete(
    "/{job_id}",
    status_code=204,
    summary="Delete a job",
    operation_id="delete_job",
    responses=error_responses(NotFound, Conflict),
)
def delete(job_id: str, services: ServicesDep) -> None:
    """Deletes a final job with its events, log and checkpoints. Versions stay."""
    deletion.delete_job(services.sweep_store, services.checkpoints, job_id)


@router.get(
    "/{job_id}/log",
    summary="Get the log of a job",
    operation_id="get_job_log",
    response_class=PlainTextResponse,
    responses=LOG_RESPONSES
    | error_responses(NotFound, invalid_field_example("follow", "Input should be a valid boolean")),
)
async def read_log(job_id: str, services: ServicesDep, follow: bool = False) -> Response:
    """Return the log in the tutorial's format. With `follow`, stream it until the job finishes.

    A stream without a new line sends a carriage return every 15 s, which a terminal does not show.
    """
    await asyncio.to_thread(jobs.get, services.job_store, job_id)
    if follow:
        log = services.event_stream.follow_log(job_id, services.draining)
        return StreamingResponse(log, 200, STREAMING_HEADERS, TEXT)
    lines = await asyncio.to_thread(lambda: [*events.read_log(services.job_store, job_id)])
    return PlainTextResponse("".join(lines))


def to_jobs(database: Database, *rows: Row) -> list[resources.Job]:
    """Return jobs with their sweeps, webhooks and deliveries."""
    ids = [row.id for row in rows]
    sweeps, outbox = SweepStore(database).sweep_ids_by_job(ids), DeliveryStore(database)
    webhooks, deliveries = outbox.requested_webhooks(ids), outbox.deliveries_by_job(ids)
    return [
        resources.Job.model_validate(row).model_copy(
            update={
                "sweep": sweeps.get(row.id),
                "webhook": Webhook.model_validate(webhooks[row.id]) if row.id in webhooks else None,
                "deliveries": [Delivery.model_validate(sent) for sent in deliveries[row.id]],
            }
        )
        for row in rows
    ]
