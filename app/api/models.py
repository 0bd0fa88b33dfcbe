"""`/models`: versions, and which one is live.

What enters: version numbers. What leaves: cards. This module does not know how a
version came to be.
"""

import asyncio
from typing import Final

from fastapi import APIRouter, Request

from app.api import body, problems
from app.api.schemas import Activation, Versions
from app.api.services import MayChange, ServicesDep
from app.card import Card

router = APIRouter(
    prefix="/models", tags=["models"], responses=problems.DOCUMENTED, dependencies=[MayChange]
)

ACTIVATION: Final = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": Activation.model_json_schema()}},
    }
}


@router.get("")
def list_versions(services: ServicesDep) -> Versions:
    """List all cards, oldest first, and say which version is live."""
    return Versions(data=services.registry.cards(), current=services.registry.current())


@router.put("/current", openapi_extra=ACTIVATION)
async def activate(request: Request, services: ServicesDep) -> Card:
    """Go live with a version. It is live here when the answer comes, elsewhere within a second."""
    wanted = await body.read_json(request, Activation)
    await asyncio.to_thread(services.live.activate, wanted.version)
    return await asyncio.to_thread(services.registry.card, wanted.version)


@router.post("/rollback")
def rollback(services: ServicesDep) -> Card:
    """Go back to the version that was live before."""
    return services.registry.card(services.live.rollback())


@router.get("/{version:int}")
def get_version(version: int, services: ServicesDep) -> Card:
    """Give a version's card."""
    return services.registry.card(version)
