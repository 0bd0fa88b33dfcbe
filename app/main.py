"""The app: `create_app(settings)` wires the services, opens and closes them, and mounts the routes.

What enters: settings. What leaves: an ASGI app. This module knows of everything and does nothing
itself.
"""

import asyncio
import gc
import logging
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from importlib.metadata import version as version_of
from types import FrameType
from typing import Any, Final, NotRequired, TypedDict

import torch
from fastapi import FastAPI
from starlette.types import ASGIApp
from threadpoolctl import threadpool_limits

from app import ledger, logs
from app.api import (
    docs,
    document,
    events,
    health,
    metrics,
    models,
    predict,
    problems,
    review,
    sagemaker,
    train,
    v1,
    v2,
    vertex,
    weights,
)
from app.api.access import AccessLog
from app.api.express import PATH as EXPRESS_PATH
from app.api.express import Express
from app.api.middleware import BodyLimit, HeadAsGet, RequestId
from app.api.scrape import Scrape
from app.api.services import Services
from app.net import pick_device
from app.predict.live import Live
from app.predict.predictor import Predictor
from app.predict.review import Review
from app.settings import Settings, read_settings
from app.start import open_store, prepare
from app.tally import Tally
from app.train.feed import Feed
from app.train.supervisor import Supervisor

RESOURCES: Final = (
    *(predict, train, events, models, weights, review, health, metrics, docs),
    *(v1, v2, sagemaker),
)
log = logging.getLogger(__name__)

# Seconds for which a thread with a photo may hold the interpreter while small images wait. Python's
# own five milliseconds are the time of thirty of them.
LONGEST_HOLD: Final = 0.0005


class State(TypedDict):
    services: Services
    express: NotRequired[Express]


class App(FastAPI):
    """FastAPI, with a request's id and line in the log around all of its layers."""

    def __init__(self, access_log: AccessLog, **options: Any) -> None:
        super().__init__(**options)
        self.access_log = access_log

    def build_middleware_stack(self) -> ASGIApp:
        return RequestId(HeadAsGet(super().build_middleware_stack()), self.access_log)

    def openapi(self) -> dict[str, Any]:
        if not self.openapi_schema:
            self.openapi_schema = document.complete(super().openapi())
        return self.openapi_schema


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the app; without settings, from the environment. Raises SettingsError."""
    settings = settings or read_settings()
    logs.configure(settings.log_level, settings.log_format)
    tally = Tally()
    access_log = AccessLog(tally)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[State]:
        async with _open(settings, tally) as services:
            state: State = {"services": services}
            if settings.predict_route != EXPRESS_PATH:
                state["express"] = Express(services, access_log)
            yield state

    app = App(
        access_log,
        title="MyNet",
        version=version_of("mynet"),
        summary="POST a handwritten digit, get the digit; POST /train, get a better reader.",
        description=document.DESCRIPTION,
        license_info={"name": "MIT", "identifier": "MIT"},
        openapi_tags=document.TAGS,
        generate_unique_id_function=document.operation_id,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.include_router(vertex.router(settings))  # first: its paths may be some of ours
    for resource in RESOURCES:
        app.include_router(resource.router)
    app.mount("/web", docs.assets)
    app.add_middleware(BodyLimit, most=settings.max_body_bytes)
    problems.install(app)
    return app


@asynccontextmanager
async def _open(settings: Settings, tally: Tally) -> AsyncIterator[Services]:
    # One thread answers fastest: MyNet's forward is too small to share, and cores are few.
    torch.set_num_threads(1)
    threadpool_limits(1)
    sys.setswitchinterval(LONGEST_HOLD)
    _end_with_parent()
    registry = await asyncio.to_thread(prepare, settings)
    live = Live(registry, pick_device(settings.device))
    live.begin()
    with (
        closing(open_store(settings)) as store,
        closing(Predictor(settings, live, tally)) as predictor,
    ):
        others = ledger.of_worker(settings.tallies_dir)
        scrape = Scrape(predictor, registry, store, others)
        services = Services(
            settings,
            registry,
            store,
            Feed(store),
            live,
            predictor,
            Review(live, settings.data_dir),
            scrape,
        )
        tasks = [asyncio.create_task(live.watch()), asyncio.create_task(scrape.keep())]
        supervisor = Supervisor(settings, store)
        with supervisor, _drain_on_signal(services, supervisor):
            # What is here by now stays: to search it for garbage takes a tenth of a second.
            gc.freeze()
            yield services
            gc.unfreeze()
        for task in tasks:
            task.cancel()
        scrape.leave()


def _end_with_parent() -> None:
    """Let a worker end when the process that started it is gone, in whatever way it went."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel

    def wait() -> None:
        multiprocessing.connection.wait([sentinel])
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent", daemon=True).start()


@contextmanager
def _drain_on_signal(services: Services, supervisor: Supervisor) -> Iterator[None]:
    """When the server is told to end, tell long answers, which it waits for, and start no job."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def drain(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(services.draining.set)
        loop.call_soon_threadsafe(supervisor.stop)
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    for number in before:
        signal.signal(number, drain)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
