"""FastAPI dependencies: services, authorization, and common query parameters.

The lifespan of the app opens the services; routes receive them through `Annotated` aliases.
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
from app.api.client_address import client_address
from app.api.query import check_query
from app.auth import csrf
from app.auth.access_control import AccessControl
from app.auth.keys import Scope as KeyScope
from app.config.settings import Settings
from app.database.database import Database
from app.database.jobs import JobStore
from app.database.sweeps import SweepStore
from app.database.tables import Key
from app.dataset_import.importer import DatasetImporter
from app.datasets.catalogue import Datasets
from app.errors import NotReady
from app.feedback import FeedbackStore
from app.monitoring.collector import MetricsCollector
from app.predict.image_validator import ImageValidator
from app.predict.live_model import LiveModel
from app.predict.model import Model
from app.predict.predictor import Predictor, never_disconnected
from app.predict.test_set_errors import MisclassifiedImages
from app.read.reader import Reader
from app.server.protocol import CLIENT
from app.telemetry.tracing import Tracing
from app.train.jobs.checkpoints import Checkpoints
from app.train.jobs.events import EventStream
from app.train.jobs.hyperparameters import Init
from app.train.jobs.retraining import AutomaticRetraining
from app.train.plan import initial_weights
from app.versions.registry import Registry

SAFE_METHODS: Final = {"GET", "HEAD", "OPTIONS"}
# These only document how to send a key: `AccessControl` reads it, also for the fast path.
BEARER: Final = HTTPBearer(auto_error=False, scheme_name="bearer", description="An API key.")
HEADER: Final = APIKeyHeader(
    name="X-API-Key", auto_error=False, scheme_name="X-API-Key", description="An API key."
)
# For streamed responses: a proxy that buffers would hold them back.
STREAMING_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
# Without NUL, which not every database can store.
IdempotencyHeader = Annotated[str | None, Header(max_length=255, pattern=r"^[^\x00]*$")]


@dataclass(frozen=True)
class Services:
    """All services that live as long as the app."""

    settings: Settings
    registry: Registry
    database: Database
    event_stream: EventStream
    live: LiveModel
    predictor: Predictor
    reader: Reader
    test_set_errors: MisclassifiedImages
    metrics_collector: MetricsCollector
    access_control: AccessControl
    feedback: FeedbackStore
    image_validator: ImageValidator
    datasets: Datasets
    tracing: Tracing | None = None
    retraining: AutomaticRetraining | None = None
    draining: asyncio.Event = field(default_factory=asyncio.Event)

    def check_ready(self) -> Model:
        """Return the live model. Raises NotReady if this process must not get requests."""
        if self.draining.is_set():
            raise NotReady("The service is draining before it stops. Send the request again later.")
        if problem := self.database.schema.problem:  # jobs and keys would fail until it is fixed
            raise NotReady(problem)
        return self.live.model

    @cached_property
    def dataset_importer(self) -> DatasetImporter:
        return DatasetImporter(self.settings, self.datasets, self.predictor.decoders)

    @cached_property
    def job_store(self) -> JobStore:
        return JobStore(self.database)

    @cached_property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.settings.checkpoints_dir, self.settings.keep_checkpoints)

    def read_init(self, init: Init) -> bytes:
        """Return the weights that a job begins with. Raises InvalidField, NotReady."""
        return initial_weights.read(init, self.registry, self.checkpoints)

    @cached_property
    def sweep_store(self) -> SweepStore:
        return SweepStore(self.database)


async def _services(request: Request) -> Services:
    """Return the services. Raises InvalidField if the query has an unknown parameter.

    The check is here because routes get the services after authorization.
    """
    # FastAPI would run a function that is no coroutine in a thread; predictions need not wait.
    await check_query(request)
    return _opened_services(request)


def _opened_services(request: Request) -> Services:
    """Return the services that the lifespan of the app has opened. Raises NotReady without them."""
    services: Services | None = getattr(request.state, "services", None)
    if services is None:
        raise NotReady(
            "The lifespan of this app has not run. An app that mounts it must run it: see "
            "docs/how-to/other-servers.md."
        )
    return services


async def _authorize(
    request: Request,
    scopes: SecurityScopes,
    _bearer: Annotated[object, Security(BEARER)],
    _header: Annotated[object, Security(HEADER)],
) -> None:
    """Authenticate and authorize a request before its body is read."""
    services = _opened_services(request)
    access_control = services.access_control
    required_scope = KeyScope(scopes.scopes[0]) if scopes.scopes else None
    key = access_control.authenticate(request.scope["headers"])
    if request.method not in SAFE_METHODS:
        if required_scope is not KeyScope.PREDICT:
            access_log.mark(request.state, key)
        if access_control.auth == "none":
            csrf.check(request.headers, services.settings.origins)
    request.state.api_key = key
    access_control.authorize(key, client_address(request.scope), required_scope)


async def _scoped_idempotency_key(
    request: Request, idempotency_key: IdempotencyHeader = None
) -> str | None:
    """Return the header as it is stored: each API key has values of its own.

    Requests without an API key share theirs. A line break separates the id of the API key, because
    no header contains one.
    """
    key: Key | None = request.state.api_key
    return f"{key.id}\n{idempotency_key}" if idempotency_key and key else idempotency_key or None


def disconnect_probe(scope: Scope) -> Callable[[], bool]:
    """Return a function that reports whether the client disconnected, if the server can know."""
    client = (scope.get("extensions") or {}).get(CLIENT, {})
    return client.get("is_gone", never_disconnected)  # type: ignore[no-any-return]


def add_log_fields(request: Request, services: Services, **fields: str | int) -> None:
    """Add fields to the request's log line and span."""
    request.scope.setdefault(LOG_FIELDS, {}).update(fields)
    if services.tracing:
        services.tracing.set_attributes(fields)


class VersionConvertor(Convertor[int]):
    """A version number in a path. `/models/current` does not match: it is another route."""

    regex = "[0-9]{1,9}"

    def convert(self, value: str) -> int:
        return int(value)

    def to_string(self, value: int) -> str:
        return str(value)


register_url_convertor("version", VersionConvertor())
ServicesDep = Annotated[Services, Depends(_services)]
IdempotencyKey = Annotated[str | None, Depends(_scoped_idempotency_key)]
RequireAnyKey = Security(_authorize)  # a key with any scope
RequirePredict = Security(_authorize, scopes=[KeyScope.PREDICT])
RequireTrain = Security(_authorize, scopes=[KeyScope.TRAIN])
RequireAdmin = Security(_authorize, scopes=[KeyScope.ADMIN])
Limit = Annotated[int, Query(ge=1, le=1000, description="maximum number of items to return")]


def etag_matches(if_none_match: str, etag: str) -> bool:
    """Return whether `If-None-Match` names this tag, also in its weak form, or all with `*`."""
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return not tags.isdisjoint({etag, "*"})
