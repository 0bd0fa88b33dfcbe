"""`/health/live` and `/health/ready`.

What enters: nothing. What leaves: whether this process turns, and whether it should get requests.
"""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from app.api.refusals import documented
from app.api.services import ServicesDep
from app.errors import NotReady

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
    responses=documented(),
)
async def live() -> Alive:
    """Fails only where the process should be ended."""
    return Alive()


@router.get(
    "/ready",
    summary="Say whether to send requests here",
    operation_id="get_ready",
    responses=documented(NotReady),
)
async def ready(services: ServicesDep) -> Ready:
    """A model is loaded and warmed up, and the service is not draining."""
    if services.draining.is_set():
        raise NotReady("The service is draining: it ends when what is under way is answered.")
    model = services.live.model
    return Ready(
        version=model.version,
        device=str(model.device),
        lost=model.lost or None,
        images=dict(services.predictor.counts),
    )
