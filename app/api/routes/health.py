"""`/health/live` and `/health/ready`.

What enters: nothing. What leaves: whether this process turns, and whether it should get requests.
"""

import asyncio
import logging
from typing import Final, Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from app.api.dependencies import Services, ServicesDep
from app.api.error_responses import error_responses
from app.database.database import Database
from app.errors import NotReady

# Seconds between two looks at the schema of the database: each takes some 10 ms of a core.
SCHEMA_CHECK_INTERVAL: Final = 5.0
log = logging.getLogger(__name__)
router = APIRouter(prefix="/health", tags=["health"])


class Alive(BaseModel):
    status: Literal["live"] = "live"


class Ready(BaseModel):
    status: Literal["ready"] = "ready"
    version: int
    device: str
    lost: str | None = Field(
        None, description="why the CPU answers in place of the device, where that raises errors"
    )
    images: dict[str, int] = Field(
        description="images answered since this process began, and refused, by the problem's code"
    )


@router.get(
    "/live",
    summary="Say that the process turns",
    operation_id="get_live",
    responses=error_responses(),
)
async def live() -> Alive:
    """Fails only where the process should be ended."""
    return Alive()


@router.get(
    "/ready",
    summary="Say whether to send requests here",
    operation_id="get_ready",
    responses=error_responses(NotReady),
)
async def ready(services: ServicesDep) -> Ready:
    """A model is loaded and warmed up, and the service is not draining."""
    return readiness(services)


def readiness(services: Services) -> Ready:
    """Describe what answers here. Raises NotReady if this process should get no requests."""
    model = services.check_ready()
    return Ready(
        version=model.version,
        device=str(model.device),
        lost=model.device_error or None,
        images=dict(services.predictor.counts),
    )


async def watch(database: Database) -> None:
    """Look whether the schema is still this code's, until cancelled."""
    while True:
        await asyncio.sleep(SCHEMA_CHECK_INTERVAL)
        try:
            await asyncio.to_thread(database.schema.recheck)
        except Exception:  # whatever it is: who no longer looks sees no change
            log.exception("the schema of the database cannot be looked at")
