"""`/metrics`, for Prometheus.

What enters: which of its formats the client takes. What leaves: the metrics in that format. This
module does not know what they tell.
"""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Header, Response
from fastapi.responses import PlainTextResponse
from prometheus_client.exposition import choose_encoder

from app.api import problems
from app.api.services import MayAsk, ServicesDep

router = APIRouter(tags=["health"], responses=problems.DOCUMENTED)


@router.get(
    "/metrics",
    summary="Give metrics to Prometheus",
    response_class=PlainTextResponse,
    dependencies=[MayAsk],
)
async def metrics(services: ServicesDep, accept: Annotated[str, Header()] = "") -> Response:
    """In Prometheus' text format, or as OpenMetrics where the client prefers that.

    With several workers, all of them are counted together.
    """
    encode, content_type = choose_encoder(accept)
    told = await services.scrape.families()
    content = await asyncio.to_thread(encode, told)
    return Response(content, headers={"content-type": content_type})
