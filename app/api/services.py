"""What routes work with: opened by the app's lifespan, reached through `Annotated` aliases.

What enters: a request. What leaves: the services behind it, or the refusal of a change that nobody
may make. This module does not know what routes do with them.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Final

from fastapi import Depends, Query, Request
from starlette.convertors import Convertor, register_url_convertor
from starlette.types import Scope

from app.api.scrape import Scrape
from app.errors import Unauthenticated
from app.predict.live import Live
from app.predict.predictor import Predictor, never
from app.predict.review import Review
from app.protocol import CLIENT
from app.registry import Registry
from app.settings import Settings
from app.store import Store
from app.train.feed import Feed

# For answers that come bit by bit: a proxy that collects them would hold them back.
UNBUFFERED: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@dataclass(frozen=True)
class Services:
    """Everything that lives as long as the app."""

    settings: Settings
    registry: Registry
    store: Store
    feed: Feed
    live: Live
    predictor: Predictor
    review: Review
    scrape: Scrape
    draining: asyncio.Event = field(default_factory=asyncio.Event)


def _services(request: Request) -> Services:
    services: Services = request.state.services
    return services


def _may_change(services: Annotated[Services, Depends(_services)]) -> None:
    if not services.settings.open_to_changes:
        raise Unauthenticated(
            "This service answers predictions and health alone (MYNET_AUTH=predict)."
        )


def is_gone(scope: Scope) -> Callable[[], bool]:
    """Give what says whether the client has hung up; where the server does not tell, nobody has."""
    client = (scope.get("extensions") or {}).get(CLIENT, {})
    return client.get("is_gone", never)  # type: ignore[no-any-return]


class VersionConvertor(Convertor[int]):
    """What in a path is a version: `/models/current` is none, and known by other methods."""

    regex = "[0-9]{1,9}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("version", VersionConvertor())
ServicesDep = Annotated[Services, Depends(_services)]
MayChange = Depends(_may_change)
Limit = Annotated[int, Query(ge=1, le=1000, description="most to give at once")]
