"""What routes work with: opened by the app's lifespan, reached through `Annotated` aliases.

What enters: a request. What leaves: the services behind it, or a refusal where its sender may not
ask. This module does not know what routes do with them.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Final

from fastapi import Depends, Header, Query, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer, SecurityScopes
from starlette.convertors import Convertor, register_url_convertor
from starlette.types import Scope

from app.api import access_log
from app.api.access_log import LOG_FIELDS
from app.auth import csrf
from app.auth.access_control import AccessControl
from app.auth.keys import Scope as KeyScope
from app.config.settings import Settings
from app.database.database import Database
from app.database.jobs import JobStore
from app.database.sweeps import SweepStore
from app.errors import NotReady
from app.feedback import FeedbackStore
from app.monitoring.collector import MetricsCollector
from app.predict.live_model import LiveModel
from app.predict.model import Model
from app.predict.predictor import Predictor, never_disconnected
from app.predict.preprocess import ImageValidator
from app.predict.test_set_errors import MisclassifiedImages
from app.server.protocol import CLIENT
from app.telemetry.tracing import Tracing
from app.train.jobs.events import EventStream
from app.versions.registry import Registry

SAFE_METHODS: Final = {"GET", "HEAD", "OPTIONS"}
# These only document how a key is sent: `AccessControl` reads it, for the fast path too.
BEARER: Final = HTTPBearer(auto_error=False, scheme_name="bearer", description="A key.")
HEADER: Final = APIKeyHeader(
    name="X-API-Key", auto_error=False, scheme_name="X-API-Key", description="The same key."
)
# For answers that come bit by bit: a proxy that collects them would hold them back.
STREAMING_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
# Without NUL, which not every database keeps.
IdempotencyKey = Annotated[str | None, Header(max_length=255, pattern=r"^[^\x00]*$")]


@dataclass(frozen=True)
class Services:
    """Everything that lives as long as the app."""

    settings: Settings
    registry: Registry
    database: Database
    event_stream: EventStream
    live: LiveModel
    predictor: Predictor
    test_set_errors: MisclassifiedImages
    metrics_collector: MetricsCollector
    access_control: AccessControl
    feedback: FeedbackStore
    image_validator: ImageValidator
    tracing: Tracing | None = None
    draining: asyncio.Event = field(default_factory=asyncio.Event)

    def check_ready(self) -> Model:
        """Return the live model. Raises NotReady if this process should get no requests."""
        if self.draining.is_set():
            raise NotReady("The service is draining: it ends when what is under way is answered.")
        if problem := self.database.schema.problem:  # jobs and keys would not work, for good
            raise NotReady(problem)
        return self.live.model

    @cached_property
    def job_store(self) -> JobStore:
        return JobStore(self.database)

    @cached_property
    def sweep_store(self) -> SweepStore:
        return SweepStore(self.database)


async def _services(request: Request) -> Services:
    # FastAPI would hand what is no coroutine to a thread, for which predictions need not wait.
    services: Services = request.state.services
    return services


async def _authorize(
    request: Request,
    scopes: SecurityScopes,
    _bearer: Annotated[object, Security(BEARER)],
    _header: Annotated[object, Security(HEADER)],
) -> None:
    """Look at who asks, before the body is read."""
    services = await _services(request)
    access_control = services.access_control
    required_scope = KeyScope(scopes.scopes[0]) if scopes.scopes else None
    key = access_control.authenticate(request.scope["headers"])
    if request.method not in SAFE_METHODS and required_scope is not KeyScope.PREDICT:
        access_log.mark(request.state, key)
        if access_control.auth == "none":
            csrf.check(request.headers, services.settings.origins)
    access_control.authorize(key, request.client.host if request.client else "", required_scope)


def disconnect_probe(scope: Scope) -> Callable[[], bool]:
    """Return what says whether the client hung up; never, if the server cannot say."""
    client = (scope.get("extensions") or {}).get(CLIENT, {})
    return client.get("is_gone", never_disconnected)  # type: ignore[no-any-return]


def add_log_fields(request: Request, services: Services, **fields: str | int) -> None:
    """Add fields to the request's log line and span."""
    request.scope.setdefault(LOG_FIELDS, {}).update(fields)
    if services.tracing:
        services.tracing.set_attributes(fields)


class VersionConvertor(Convertor[int]):
    """What in a path is a version: `/models/current` is none, and known by other methods."""

    regex = "[0-9]{1,9}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("version", VersionConvertor())
ServicesDep = Annotated[Services, Depends(_services)]
RequireAnyKey = Security(_authorize)  # with whichever key
RequirePredict = Security(_authorize, scopes=[KeyScope.PREDICT])
RequireTrain = Security(_authorize, scopes=[KeyScope.TRAIN])
RequireAdmin = Security(_authorize, scopes=[KeyScope.ADMIN])
Limit = Annotated[int, Query(ge=1, le=1000, description="most to give at once")]
