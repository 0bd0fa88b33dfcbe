"""`/train/{job_id}/checkpoints`: the weights of a job's epochs, and versions made of them."""

from typing import Annotated, Final

from fastapi import Header, Path, Response

from app.api import request_body
from app.api.dependencies import RequireTrain, ServicesDep, etag_matches
from app.api.error_responses import (
    ACCESS_ERRORS,
    Responses,
    Router,
    error_responses,
    headers,
    invalid_field_example,
)
from app.api.schemas.training import Checkpoint, CheckpointList
from app.database.tables import Job
from app.errors import Conflict, NotFound, NotReady
from app.train.jobs import job as jobs
from app.train.jobs.checkpoints import Checkpoints, store_as_version
from app.versions.card import Card
from app.versions.retention import delete_old_versions

router = Router(
    prefix="/train",
    tags=["train"],
    responses=error_responses(*ACCESS_ERRORS, NotReady),
    dependencies=[RequireTrain],
)

STORE_RESPONSES: Responses = {
    200: {"model": Card, "description": "The version that this checkpoint became before"},
    201: {"headers": headers("Location")},
}
INVALID_EPOCH = invalid_field_example("epoch", "Input should be less than or equal to 999")
WEIGHTS_RESPONSES: Final[Responses] = {
    200: {
        "content": {"application/octet-stream": {"schema": request_body.FILE}},
        "headers": headers("ETag", "Content-Disposition"),
    },
    304: {
        "description": "The weights have not changed: `If-None-Match` has their digest",
        "headers": headers("ETag"),
    },
}
Epoch = Annotated[int, Path(ge=0, le=999, description="counts from 0")]


@router.get(
    "/{job_id}/checkpoints",
    summary="List the checkpoints of a job",
    operation_id="get_job_checkpoints",
    responses=error_responses(NotFound),
)
def list_checkpoints(job_id: str, services: ServicesDep) -> CheckpointList:
    """A job with `keep_checkpoints` keeps the weights of each epoch; the oldest are deleted."""
    return to_checkpoints(jobs.get(services.job_store, job_id), services.checkpoints)


@router.get(
    "/{job_id}/checkpoints/{epoch}",
    summary="Download the weights of an epoch",
    operation_id="get_checkpoint_weights",
    response_class=Response,
    responses=WEIGHTS_RESPONSES | error_responses(NotFound, Conflict, INVALID_EPOCH),
)
def get_weights(
    job_id: str,
    epoch: Epoch,
    services: ServicesDep,
    if_none_match: Annotated[str, Header()] = "",
) -> Response:
    """A safetensors file with the card of the version that the checkpoint would become."""
    jobs.get(services.job_store, job_id)
    content, card = services.checkpoints.content(job_id, epoch)
    etag = f'"{card.weights_digest}"'
    if etag_matches(if_none_match, etag):
        return Response(status_code=304, headers={"ETag": etag})
    disposition = f'attachment; filename="mynet-{job_id}-{epoch}.safetensors"'
    file_headers = {"ETag": etag, "Content-Disposition": disposition}
    return Response(content, headers=file_headers, media_type="application/octet-stream")


@router.post(
    "/{job_id}/checkpoints/{epoch}",
    status_code=201,
    summary="Make a checkpoint a version",
    operation_id="store_checkpoint",
    responses=STORE_RESPONSES | error_responses(NotFound, Conflict, INVALID_EPOCH),
)
def store(job_id: str, epoch: Epoch, response: Response, services: ServicesDep) -> Card:
    """The version has a card and does not go live. A repeated request returns the same version."""
    jobs.get(services.job_store, job_id)
    card, is_new = store_as_version(services.registry, services.checkpoints, job_id, epoch)
    if is_new:
        keep_versions = services.settings.keep_versions
        delete_old_versions(services.registry, services.sweep_store, keep_versions)
    response.status_code = 201 if is_new else 200
    response.headers["Location"] = f"/models/{card.version}"
    return card


def to_checkpoints(job: Job, checkpoints: Checkpoints) -> CheckpointList:
    """Return the recorded epochs of a job that have a checkpoint."""
    sizes = checkpoints.sizes(job.id)
    return CheckpointList(
        data=[
            Checkpoint(**epoch, bytes=sizes[epoch["epoch"]])
            for epoch in job.epochs
            if epoch["epoch"] in sizes
        ]
    )
