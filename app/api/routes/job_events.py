"""`GET /train/{id}/events`: the events of a job, in pages or as server-sent events.

The stream follows the HTML standard (html.spec.whatwg.org, 9.2).
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Final

from fastapi import Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event

from app.api.dependencies import STREAMING_HEADERS, Limit, RequireTrain, Services, ServicesDep
from app.api.error_responses import (
    ACCESS_ERRORS,
    Responses,
    Router,
    error_responses,
    invalid_field_example,
)
from app.api.openapi.examples import EVENT_EXAMPLES
from app.api.schemas import resources
from app.database.tables import Event
from app.errors import NotFound, NotReady
from app.train.jobs import job as jobs

router = Router(
    prefix="/train",
    tags=["train"],
    responses=error_responses(*ACCESS_ERRORS, NotReady),
    dependencies=[RequireTrain],
)

STREAM: Final = "text/event-stream"
STREAM_DESCRIPTION: Final = """\
One server-sent event. The comment `: heartbeat` is sent every 15 s if nothing happens. The stream
ends after the final `status`: `succeeded`, `failed` or `cancelled`."""
STREAM_EXAMPLES: Final = {
    event["event"]: {"value": {**event, "id": str(number), "data": json.dumps(event["data"])}}
    for number, event in enumerate(EVENT_EXAMPLES, 1)
}
EVENT: Final = {"$ref": "#/components/schemas/Streamed", "description": STREAM_DESCRIPTION}
STREAM_RESPONSES: Final[Responses] = {
    200: {"content": {STREAM: {"schema": EVENT, "examples": STREAM_EXAMPLES}}},
    204: {"description": "The job is finished and has no further events: do not reconnect"},
}
# Milliseconds. By then the old process has released its port and a new one may be listening.
RECONNECT_MS: Final = 2000
MAX_EVENT_ID: Final = 2**63 - 1
LastEventId = Annotated[
    int | None,
    Header(
        ge=0, le=MAX_EVENT_ID, description="same as `after`; browsers send it when they reconnect"
    ),
]
EventId = Annotated[int, Query(ge=0, le=MAX_EVENT_ID, description="id of the last event received")]


@router.get(
    "/{job_id}/events",
    summary="Follow a job",
    operation_id="get_job_events",
    responses=STREAM_RESPONSES
    | error_responses(
        NotFound, invalid_field_example("after", "Input should be greater than or equal to 0")
    ),
    response_model=resources.Events,
)
async def events(
    request: Request,
    job_id: str,
    services: ServicesDep,
    after: EventId = 0,
    limit: Limit = 1000,
    last_event_id: LastEventId = None,
) -> Response | resources.Events:
    """With `Accept: application/json`, return a page of events; otherwise stream them.

    A stream resumes after `Last-Event-ID`. It sends a comment every 15 s if nothing happens, and
    ends after the final `status`.
    """
    if not _wants_stream(request.headers.get("accept", "")):
        await asyncio.to_thread(jobs.get, services.job_store, job_id)
        rows = await asyncio.to_thread(services.job_store.events, job_id, after, limit=limit + 1)
        page = {"data": rows[:limit], "has_more": len(rows) > limit}
        return resources.Events.model_validate(page)
    cursor = after if last_event_id is None else last_event_id
    if await services.event_stream.is_over(job_id, cursor):
        return Response(status_code=204)  # an EventSource reconnects after any other answer
    return StreamingResponse(_stream(services, job_id, cursor), 200, STREAMING_HEADERS, STREAM)


async def _stream(services: Services, job_id: str, after: int) -> AsyncIterator[bytes]:
    async for page in services.event_stream.subscribe(job_id, after, services.draining):
        yield _format_events(page) if page else format_sse_event(comment="heartbeat")
    if services.draining.is_set():
        yield format_sse_event(retry=RECONNECT_MS, comment="the service restarts")


def _format_events(page: Sequence[Event]) -> bytes:
    return b"".join(
        format_sse_event(data_str=json.dumps(event.data), event=event.kind, id=str(event.number))
        for event in page
    )


def _wants_stream(accept: str) -> bool:
    """Return whether to stream, which is the default for clients without a preference (curl)."""
    media_types = accept.lower()
    return STREAM in media_types or "json" not in media_types
