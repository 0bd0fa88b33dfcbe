"""`/models`: versions, and which one is live.

What enters: version numbers. What leaves: cards. This module does not know how a
version came to be.
"""

import asyncio
from typing import Final

from fastapi import APIRouter, Request

from app.api import body
from app.api.refusals import GUARD, bad, documented
from app.api.schemas import Promotion, Versions
from app.api.services import MayAdminister, MayTrain, ServicesDep
from app.errors import BodyTooLarge, Conflict, MalformedRequest, NotFound, NotReady
from app.versions.card import Card

router = APIRouter(prefix="/models", tags=["models"], responses=documented(*GUARD, NotReady))

NO_NUMBER: Final = bad("version", "Input should be greater than or equal to 1")
PROMOTION: Final = body.documented(Promotion, required=True)


@router.get("", summary="List versions, oldest first", dependencies=[MayTrain])
def list_versions(services: ServicesDep) -> Versions:
    """All cards, and which version is live."""
    return Versions(data=services.registry.cards(), current=services.registry.current())


@router.put(
    "/current",
    summary="Go live with a version",
    operation_id="promote_version",
    openapi_extra=PROMOTION,
    responses=documented(MalformedRequest, NotFound, Conflict, BodyTooLarge, NO_NUMBER),
    dependencies=[MayAdminister],
)
async def promote(request: Request, services: ServicesDep) -> Card:
    """It is live in this process when the answer comes, in all others within two seconds."""
    wanted = await body.read_json(request, Promotion)
    await asyncio.to_thread(services.live.promote, wanted.version)
    return await asyncio.to_thread(services.registry.card, wanted.version)


@router.post(
    "/rollback",
    summary="Go back to the version before",
    responses=documented(Conflict, NotFound),
    dependencies=[MayAdminister],
)
def rollback(services: ServicesDep) -> Card:
    """Each call goes one step further back."""
    return services.registry.card(services.live.rollback())


@router.get(
    "/{version:version}",
    summary="Give a version's card",
    responses=documented(NotFound, Conflict),
    dependencies=[MayTrain],
)
def get_version(version: int, services: ServicesDep) -> Card:
    """Its metrics on the test images, and all that is needed to make it again."""
    return services.registry.card(version)


@router.delete(
    "/{version:version}",
    status_code=204,
    summary="Remove a version",
    operation_id="delete_version",
    responses=documented(NotFound, Conflict),
    dependencies=[MayAdminister],
)
def delete(version: int, services: ServicesDep) -> None:
    """Its number is never given again. The live version stays: go live with another one first."""
    services.registry.delete(version)
