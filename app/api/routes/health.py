"""Liveness and readiness probes: `/health/live` and `/health/ready`."""

import asyncio
import logging
from typing import Final

from fastapi import APIRouter

from app.api.dependencies import Services, ServicesDep
from app.api.error_responses import error_responses
from app.api.query import CheckQuery
from app.api.schemas.health import Alive, Ready, Retraining
from app.database.database import Database
from app.errors import NotReady, ServiceError
from app.train.jobs.retraining import AutomaticRetraining

# Seconds between two checks of the database schema: each takes some 10 ms of a core.
SCHEMA_CHECK_INTERVAL: Final = 5.0
# Seconds between two counts of the new corrections, which lists a folder.
CORRECTIONS_COUNT_INTERVAL: Final = 2.0
log = logging.getLogger(__name__)
router = APIRouter(prefix="/health", tags=["health"])


@router.get(
    "/live",
    summary="Check liveness",
    operation_id="get_live",
    responses=error_responses(),
    dependencies=[CheckQuery],
)
async def live() -> Alive:
    """If this request fails, restart the process."""
    return Alive()


@router.get(
    "/ready",
    summary="Check readiness",
    operation_id="get_ready",
    responses=error_responses(NotReady),
)
async def ready(services: ServicesDep) -> Ready:
    """A process is ready if its model is loaded and warmed up and it is not draining."""
    return readiness(services)


def readiness(services: Services) -> Ready:
    """Return the readiness of this process. Raises NotReady if it must not get requests."""
    model = services.check_ready()
    return Ready(
        version=model.version,
        device=model.network.device,
        lost=model.network.device_error or None,
        decoders=services.predictor.decoders.processes,
        images=dict(services.predictor.counts),
        retraining=_progress(services.retraining),
    )


def _progress(retraining: AutomaticRetraining | None) -> Retraining | None:
    if retraining is None:
        return None
    return Retraining(new=retraining.new_corrections, after=retraining.after)


async def count_corrections(retraining: AutomaticRetraining) -> None:
    """Count the new corrections periodically, until cancelled."""
    while True:
        try:
            await asyncio.to_thread(retraining.count)
        except (ServiceError, OSError) as error:  # the last count stays
            log.error("new corrections could not be counted: error=%s", error)
        await asyncio.sleep(CORRECTIONS_COUNT_INTERVAL)


async def watch(database: Database) -> None:
    """Check periodically whether the database schema still fits this code, until cancelled."""
    while True:
        await asyncio.sleep(SCHEMA_CHECK_INTERVAL)
        try:
            await asyncio.to_thread(database.schema.recheck)
        except Exception:  # any: without this task, no later change would be noticed
            log.exception("database schema check failed")
