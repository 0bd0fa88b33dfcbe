"""`/metrics`: Prometheus metrics, as text or OpenMetrics."""

import asyncio
import os
from collections.abc import Callable
from typing import Annotated, Final

from fastapi import APIRouter, Header, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from app.api.dependencies import RequireAnyKey, ServicesDep
from app.api.error_responses import ACCESS_ERRORS, Responses, error_responses
from app.server.protocol import CLIENT

router = APIRouter(tags=["health"])

# An example in the Prometheus text format; OpenMetrics looks much the same.
TEXT: Final = """\
# HELP mynet_model_info The live version.
# TYPE mynet_model_info gauge
mynet_model_info{version="2"} 1.0
"""
ONE_PROCESS: Final = b"# Of process %d alone: this server counts each worker for itself.\n"
OPEN_METRICS: Final = "application/openmetrics-text"
METRICS_RESPONSES: Final[Responses] = {
    200: {
        "content": {
            "text/plain": {"example": TEXT},
            OPEN_METRICS: {"schema": {"type": "string"}, "example": f"{TEXT}# EOF\n"},
        }
    }
}


@router.get(
    "/metrics",
    summary="Get metrics for Prometheus",
    operation_id="get_metrics",
    response_class=PlainTextResponse,
    responses=error_responses(*ACCESS_ERRORS) | METRICS_RESPONSES,
    dependencies=[RequireAnyKey],
)
async def metrics(
    request: Request, services: ServicesDep, accept: Annotated[str, Header()] = ""
) -> Response:
    """The format is the Prometheus text format, or OpenMetrics if the client prefers it.

    The metrics are sums over all worker processes. On another server than MyNet's own they are
    those of the process that answers; a comment in the text format says so.
    """
    encode, content_type = _encoder(accept)
    families = await services.metrics_collector.families()
    content = await asyncio.to_thread(encode, families)
    if CLIENT not in (request.scope.get("extensions") or {}) and "openmetrics" not in content_type:
        content = ONE_PROCESS % os.getpid() + content
    return Response(content, headers={"content-type": content_type})


def _encoder(accept: str) -> tuple[Callable[[Collector], bytes], str]:
    """Return the encoder of the format that the client accepts, or of the text format.

    prometheus_client raises TypeError if `Accept` asks for a version that is not a number.
    """
    try:
        return choose_encoder(accept)
    except TypeError:
        return choose_encoder("")
