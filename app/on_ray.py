"""The same app on Ray: replicas of it under Ray Serve, trainings under Ray Train.

What enters: settings. What leaves: a service on a cluster, and what the supervisor starts there for
each attempt at a job. This module does not know how images are read, nor how a network is trained.

`mynet serve --on ray` stays and takes its service along when it ends; `serve run app.on_ray:app`,
and `serve deploy`, leave it to Ray.
"""

import asyncio
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any, Final

import ray
from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig

from app.api.hosted import Hosted
from app.engine import Engine
from app.main import create_app
from app.settings import Settings, read_settings
from app.start import CannotStart, check_keys, check_tracking, open_registry, open_store, prepare

NAME: Final = "mynet"
# Told to replicas and trainings, wherever they are: where traces and trackers are.
TOLD: Final = ("OTEL_", "MLFLOW_")
# Seconds: between two questions for a replica's health; for the end of what is under way.
HEALTH_EVERY: Final = 1.0
UNASKED: Final = 5.0
GRACE: Final = 20.0
WATCH: Final = 2.0
START_TRIES: Final = 3
ON_RAY: Final = Engine(open_registry, lambda _: None, "app.train.run")
log = logging.getLogger("app.on_ray")


class Replica:
    """The app in one of Ray's processes."""

    def __init__(self, settings: Settings, told: Mapping[str, str]) -> None:
        os.environ.update(told)
        self.hosted = Hosted(create_app(settings, engine=ON_RAY))
        self.asked = 0.0

    async def __serve_build_asgi_app__(self) -> Hosted:
        """Begin here, so that Serve hears why where that fails."""
        await self.hosted.begin()
        self.watching = asyncio.create_task(self._watch())
        return self.hosted

    async def check_health(self) -> None:
        """Ready is healthy. Raises NotReady."""
        self.asked = time.monotonic()
        self.hosted.services.draining.clear()
        await self.hosted.check()

    async def _watch(self) -> None:
        """Drain where nobody asks any more: Serve asks no replica that it takes down, and tells it
        only once all requests are answered, which those that follow a job would put off.
        """
        while True:
            await asyncio.sleep(HEALTH_EVERY)
            if self.asked and time.monotonic() - self.asked > UNASKED:
                self.hosted.services.draining.set()


def app(_: dict[str, str]) -> Application:
    """Build the application for Serve's own commands. Raises CannotStart, SettingsError."""
    settings = read_settings()
    if settings.auth is None:
        raise CannotStart(
            "It is Serve that listens here, perhaps beyond this machine: set MYNET_AUTH to keys, "
            "predict or none"
        )
    return _application(settings)


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; what is under way is answered first. Raises CannotStart."""
    ended = threading.Event()
    with _cluster(settings):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: ended.set())
        application = _application(settings)
        with _listening(settings):
            try:
                serve.run(application, name=NAME, route_prefix="/")
            except RuntimeError as error:
                raise CannotStart(f"no replica starts: {error}") from error
            log.info("serving on http://%s:%d", settings.host, settings.port)
            while not ended.wait(WATCH):
                serve.status()  # raises where the cluster is gone


@contextmanager
def _cluster(settings: Settings) -> Iterator[None]:
    """Connect to the cluster at RAY_ADDRESS, or start one on this machine for as long."""
    address, options = os.environ.get("RAY_ADDRESS"), dict[str, Any](logging_level="warning")
    if not address:
        # Its count of cores is but a count: none shall wait for another for ever.
        replicas = max(settings.workers, settings.ray_max_replicas or 1)
        options |= {
            "num_cpus": replicas + settings.train_workers * settings.effective_train_threads,
            "include_dashboard": False,
        }
    try:
        ray.init(address or "local", **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise CannotStart(f"RAY_ADDRESS={address} cannot be reached: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _listening(settings: Settings) -> Iterator[None]:
    """Let Serve listen on each machine of the cluster; what was there already stays."""
    if serve.status().proxies:
        raise CannotStart("Serve runs on this cluster already: use `serve deploy` there")
    options = {"host": settings.host, "port": settings.port}
    serve.start(proxy_location="EveryNode", http_options=options)
    try:
        yield
    finally:
        serve.shutdown()


def _application(settings: Settings) -> Application:
    """Prepare for a service, once, and say what its replicas are. Raises CannotStart."""
    where = {name: getattr(settings, name).absolute() for name in ("state_dir", "data_dir")}
    settings = settings.model_copy(update=where)
    check_tracking()
    with closing(open_store(settings)) as store:
        check_keys(settings, store)
    prepare(settings)
    fewest = settings.workers
    return (
        serve.deployment(serve.ingress()(Replica))
        .options(
            name=NAME,
            autoscaling_config=AutoscalingConfig(
                min_replicas=fewest,
                max_replicas=max(fewest, settings.ray_max_replicas or fewest),
                target_ongoing_requests=settings.ray_target_requests,
            ),
            # The app refuses what is too much for it, in its own words.
            max_ongoing_requests=2 * settings.max_queue,
            health_check_period_s=HEALTH_EVERY,
            graceful_shutdown_timeout_s=GRACE,
            max_constructor_retry_count=START_TRIES,
            logging_config={"enable_access_log": False},  # the app has one
            ray_actor_options={
                "num_gpus": int(settings.device.startswith("cuda")),
                # uvloop starts no process that lies in a group of its own.
                "runtime_env": {"env_vars": {"RAY_USE_UVLOOP": "0"}},
            },
        )
        .bind(settings, _told())
    )


def _told() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(TOLD)}
