"""ASGI application factory: `create_app(settings)` wires the services and mounts the routes."""

import asyncio
import gc
import logging
import multiprocessing
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, nullcontext, suppress
from functools import partial
from typing import Any, Final, NotRequired, TypedDict

from fastapi import FastAPI
from starlette.types import ASGIApp
from threadpoolctl import threadpool_limits

from app.api import middleware, problem_details
from app.api.access_log import AccessLog
from app.api.body_limits import BodyLimits
from app.api.content_encoding import ContentDecoding
from app.api.dependencies import Services
from app.api.middleware import BodyLimit, CheckHost, HeadAsGet, RequestId, ShutdownDeadline
from app.api.openapi import document
from app.api.protocols import cloud, kserve_v1, open_inference
from app.api.root_path import RootPath
from app.api.routes import (
    checkpoints,
    datasets,
    feedback,
    health,
    job_events,
    keys,
    metrics,
    models,
    predict,
    read,
    sweeps,
    train,
    web_ui,
)
from app.api.routes.predict_fast_path import PATH as PREDICT_PATH
from app.api.routes.predict_fast_path import PredictFastPath
from app.auth.access_control import AccessControl
from app.auth.allowed_hosts import AllowedHosts
from app.auth.key_cache import KeyCache
from app.auth.keys import KeyStore
from app.config.settings import Settings, load_settings
from app.database.database import Database
from app.database.jobs import JobStore
from app.datasets.catalogue import open_datasets
from app.devices import is_torch_installed, pick_device
from app.monitoring.collector import MetricsCollector
from app.predict.image_decoders import ImageDecoders
from app.predict.image_validator import ImageValidator
from app.predict.live_model import LiveModel
from app.predict.predictor import Predictor
from app.predict.test_set_errors import MisclassifiedImages
from app.read.reader import Reader
from app.server import signals
from app.server.runtime import UVICORN, Runtime
from app.server.shutdown import Shutdown, exit_with_parent, on_shutdown_signal
from app.startup import STARTUP_ERRORS, open_database
from app.telemetry import logs, tracing_setup
from app.telemetry.metrics import Metrics
from app.telemetry.tracing import Tracing
from app.telemetry.worker_metrics import WorkerMetricsFile
from app.train.jobs.events import EventStream
from app.train.jobs.retraining import retraining_of
from app.train.supervisor.supervisor import Supervisor
from app.versions.registry import Registry
from app.webhooks.dispatcher import Dispatcher

ROUTERS: Final = (
    *(
        predict,
        read,
        feedback,
        datasets,
        train,
        job_events,
        checkpoints,
        sweeps,
        models,
        keys,
        health,
        metrics,
        web_ui,
    ),
    *(kserve_v1, open_inference, cloud),
)
log = logging.getLogger(__name__)

# Seconds for which a worker process retries its start, and between two tries.
STARTUP_TIMEOUT: Final = 300.0
STARTUP_RETRY_INTERVAL: Final = 2.0
OpenedResources = tuple[Registry, Database, KeyCache, WorkerMetricsFile | None]


class LifespanState(TypedDict):
    services: Services
    ending: Shutdown
    express: NotRequired[PredictFastPath]  # plain-words: ok


class App(FastAPI):
    """FastAPI with CORS, allowed hosts, request ids and an access log around it."""

    def __init__(
        self,
        access_log: AccessLog,
        traces: Tracing | None,
        settings: Settings,
        **options: Any,
    ) -> None:
        telemetry: Any = traces.telemetry_options() if traces else None
        super().__init__(telemetry=telemetry, **options)
        self.access_log, self.traces, self.settings = access_log, traces, settings

    def build_middleware_stack(self) -> ASGIApp:
        stack: ASGIApp = HeadAsGet(super().build_middleware_stack())
        stack = middleware.add_cors(stack, self.settings.origins)
        stack = CheckHost(stack, AllowedHosts(self.settings))
        stack = RootPath(stack, self.settings.root_path or "")
        return RequestId(stack, self.access_log, self.traces)

    def openapi(self) -> dict[str, Any]:
        if not self.openapi_schema:
            self.openapi_schema = document.complete(super().openapi())
        return self.openapi_schema


def create_served_app() -> FastAPI:
    """Return the app for the server of `mynet serve`, whose process is MyNet's alone."""
    settings, traces = load_settings(), tracing_setup.begin()
    if settings.workers > 1:  # this is a worker process
        signals.ignore_hangup()
    configure_logs(settings, traces)
    return create_app(settings, traces)


def configure_logs(settings: Settings, traces: Tracing | None) -> None:
    """Send all logs of this process, which is MyNet's alone, to standard error."""
    logs.configure(settings.log_level, settings.log_format, traces.ids if traces else dict)


def create_app(
    settings: Settings | None = None, traces: Tracing | None = None, runtime: Runtime = UVICORN
) -> FastAPI:
    """Return the app; without `settings`, use the environment. Raises SettingsError.

    Another server or app may host it, so nothing global changes: the logs go to the handlers of the
    process, or to standard error if there are none.
    """
    settings = settings or load_settings()
    traces = traces or tracing_setup.begin()
    logs.configure_app(settings.log_level, settings.log_format, traces.ids if traces else dict)
    process_metrics = Metrics()
    access_log, shutdown = AccessLog(process_metrics), Shutdown()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[LifespanState]:
        async with _open_services(settings, process_metrics, traces, runtime, shutdown) as services:
            state: LifespanState = {"services": services, "ending": shutdown}
            # FastAPI creates the spans of requests, and the fast path bypasses FastAPI.
            if settings.predict_route != PREDICT_PATH and not traces:
                state["express"] = PredictFastPath(services, access_log)
            yield state

    app = App(
        access_log,
        traces,
        settings,
        **document.fastapi_options(),
        docs_url=None,
        redoc_url=None,
        # A redirect would contain the Host that was sent, and http:// behind a proxy that ends TLS.
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.include_router(cloud.vertex_ai_router(settings))  # first: its paths may shadow others
    for module in ROUTERS:
        app.include_router(module.router)
    limits = BodyLimits(settings.max_body_bytes, {datasets.PATH: settings.max_dataset_bytes})
    app.add_middleware(BodyLimit, limits=limits)
    app.add_middleware(ContentDecoding, limits=limits)
    app.add_middleware(ShutdownDeadline, shutdown=shutdown)
    problem_details.install(app)
    return app


@asynccontextmanager
async def _open_services(
    settings: Settings,
    process_metrics: Metrics,
    traces: Tracing | None,
    runtime: Runtime,
    shutdown: Shutdown,
) -> AsyncIterator[Services]:
    _prepare_process()
    # First, since the decoders start while everything else is opened.
    async with ImageDecoders(settings, process_metrics).running() as decoders:
        registry, database, key_cache, metrics_file = await _open_with_retries(
            partial(_open_resources, settings, runtime)
        )
        live = LiveModel(registry, pick_device(settings.device))
        live.load_initial()
        with (
            closing(database),
            closing(Predictor(settings, live, process_metrics, decoders)) as predictor,
            closing(Reader(settings, live, decoders)) as reader,
            registry.refreshing(),
        ):
            await decoders.wait_until_ready()
            catalogue = open_datasets(settings, database)
            services = Services(
                settings,
                registry,
                database,
                EventStream(JobStore(database)),
                live,
                predictor,
                reader,
                MisclassifiedImages(live, settings.data_dir, catalogue),
                MetricsCollector(
                    process_metrics, predictor, live, registry, JobStore(database), metrics_file
                ),
                AccessControl(settings, key_cache),
                catalogue.feedback,
                ImageValidator(settings, decoders),
                catalogue,
                traces,
                retraining_of(settings, database),
            )
            async with _in_background(services):
                supervisor = _supervisor(settings, database, runtime)
                start_draining = partial(_start_draining, services, supervisor, shutdown)
                with supervisor or nullcontext(), on_shutdown_signal(start_draining):
                    # A full collection of what was allocated at startup would take 0.1 s.
                    gc.freeze()
                    yield services
                    gc.unfreeze()


@asynccontextmanager
async def _in_background(services: Services) -> AsyncIterator[None]:
    """Run the background tasks; store uses of keys, metrics and traces when they end."""
    tasks = [asyncio.create_task(coroutine) for coroutine in _background_tasks(services)]
    yield
    for task in tasks:
        task.cancel()
    services.access_control.key_usage.store_all()
    services.metrics_collector.publish()
    if services.tracing:
        services.tracing.close()


def _prepare_process() -> None:
    # One thread is fastest: MyNet's forward pass is too small to split, and cores are few.
    threadpool_limits(1)
    exit_with_parent()


async def _open_with_retries(factory: Callable[[], OpenedResources]) -> OpenedResources:
    """Open the resources; retry for a while if this worker process replaces another one.

    The cause may be temporary, and uvicorn stops every worker process if one fails to start.
    """
    deadline, stop_event = time.monotonic() + STARTUP_TIMEOUT, asyncio.Event()
    with on_shutdown_signal(stop_event.set):
        while True:
            try:
                return await asyncio.to_thread(factory)
            except STARTUP_ERRORS as error:
                give_up = stop_event.is_set() or time.monotonic() > deadline
                if give_up or multiprocessing.parent_process() is None:
                    raise
                log.error("worker cannot start yet, retrying: %s", error)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop_event.wait(), STARTUP_RETRY_INTERVAL)


def _open_resources(settings: Settings, runtime: Runtime) -> OpenedResources:
    with ExitStack() as stack:
        database = open_database(settings, migrate=True)
        stack.callback(database.close)
        resources = (
            runtime.prepare(settings, database),
            database,
            _open_key_cache(settings, database),
            runtime.worker_metrics_file(settings.metrics_dir),
        )
        stack.pop_all()
        return resources


def _background_tasks(services: Services) -> Iterator[Coroutine[Any, Any, None]]:
    yield services.live.watch()
    yield health.watch(services.database)
    yield services.metrics_collector.publish_periodically()
    if services.retraining:
        yield health.count_corrections(services.retraining)
    if services.settings.webhook_secret:
        yield Dispatcher(services.settings, services.database).run()
    if services.access_control.auth != "none":
        yield services.access_control.key_cache.watch()
        yield services.access_control.key_usage.store_periodically()


def _supervisor(settings: Settings, database: Database, runtime: Runtime) -> Supervisor | None:
    """Return the supervisor, or None if this service cannot train, so that it takes no lease."""
    if is_torch_installed():
        return Supervisor(settings, database, runtime.trainer, runtime.clean_storage)
    log.info("this service trains nothing: PyTorch is not installed")
    return None


def _start_draining(services: Services, supervisor: Supervisor | None, shutdown: Shutdown) -> None:
    services.draining.set()
    shutdown.begin()
    if supervisor:
        supervisor.stop()


def _open_key_cache(settings: Settings, database: Database) -> KeyCache:
    admin_key = settings.admin_key.get_secret_value() if settings.admin_key else None
    key_cache = KeyCache(KeyStore(database), admin_key)
    key_cache.refresh()
    return key_cache
