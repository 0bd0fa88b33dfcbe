"""Replicas of the app under Ray Serve.

What enters: settings. What leaves: a service on a cluster. This module does not know how images are
read, nor how jobs are run.

`mynet serve --on ray` stays and takes its service along when it ends; `serve run app.on_ray:app`,
and `serve deploy`, leave it to Ray.
"""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import ray
from ray import serve
from ray.serve import Application
from ray.serve.config import AutoscalingConfig

from app.config.settings import Settings, load_settings
from app.main import create_app
from app.on_ray import storage
from app.on_ray.asgi import HEALTH_EVERY, HostedApp
from app.on_ray.environment import HIDE_UNASSIGNED_GPUS, inherited_environment
from app.on_ray.metrics import RayMetricsBridge
from app.server.runtime import Runtime, prepare_with_absolute_paths
from app.startup import StartupError, prepare_registry

NAME: Final = "mynet"
# Seconds for the end of what is under way.
GRACE: Final = 20.0
WATCH: Final = 2.0
START_TRIES: Final = 3
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
ON_RAY: Final = Runtime(
    prepare_registry, lambda _: None, "app.on_ray.training", storage.delete_finished_runs
)
log = logging.getLogger(__name__)


class Replica:
    """The app in one of Ray's processes."""

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        address = ray.get_runtime_context().gcs_address  # for the trainings that it starts
        os.environ.update(environment, RAY_ADDRESS=address)
        self.hosted_app = HostedApp(create_app(settings, runtime=ON_RAY))

    async def __serve_build_asgi_app__(self) -> HostedApp:
        """Begin here, so that Serve hears why where that fails."""
        await self.hosted_app.begin()
        metrics_bridge = RayMetricsBridge(self.hosted_app.services.metrics_collector)
        self.tasks = [
            asyncio.create_task(task)
            for task in (
                self.hosted_app.drain_when_unprobed(),
                metrics_bridge.publish_periodically(),
            )
        ]
        return self.hosted_app

    async def check_health(self) -> None:
        """Ready is healthy. Raises NotReady."""
        await self.hosted_app.check()


def app(_: dict[str, str]) -> Application:
    """Build the application for Serve's own commands. Raises StartupError, SettingsError."""
    settings = load_settings()
    if settings.auth is None:
        raise StartupError(
            "It is Serve that listens here, perhaps beyond this machine: set MYNET_AUTH to keys, "
            "predict or none"
        )
    return _application(settings)


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; what is under way is answered first. Raises StartupError."""
    with _cluster(settings):
        for number in STOP_SIGNALS:
            signal.signal(number, _end)
        application = _application(settings)
        with _listening(settings):
            try:
                serve.run(application, name=NAME, route_prefix="/")
            except RuntimeError as error:
                raise StartupError(f"no replica starts: {_replica_error() or error}") from error
            log.info("serving on http://%s:%d", settings.host, settings.port)
            while True:
                time.sleep(WATCH)
                serve.status()  # raises where the cluster is gone


def _end(*_: object) -> None:
    """End by way of the contexts, once; replicas that no node has room for are waited for, too."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    sys.exit()


@contextmanager
def _cluster(settings: Settings) -> Iterator[None]:
    """Connect to the cluster at RAY_ADDRESS, or start one on this machine for as long."""
    address, options = os.environ.get("RAY_ADDRESS"), dict[str, Any](logging_level="warning")
    if not address:
        # Its count of cores is but a count: none shall wait for another for ever.
        replicas = max(settings.workers, settings.ray_max_replicas or 1)
        options |= {
            "num_cpus": replicas + settings.ray_train_workers * settings.effective_train_threads,
            "include_dashboard": False,
        }
    try:
        ray.init(address or "local", **options)
    except Exception as error:  # nothing more exact is raised for a node that does not start
        where = f"RAY_ADDRESS={address} cannot be reached" if address else "Ray does not start"
        raise StartupError(f"{where}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _listening(settings: Settings) -> Iterator[None]:
    """Start Serve's proxies on each machine of the cluster; running ones stay."""
    if serve.status().proxies:
        raise StartupError("Serve runs on this cluster already: use `serve deploy` there")
    options = {"host": settings.host, "port": settings.port}
    serve.start(proxy_location="EveryNode", http_options=options)
    try:
        yield
    finally:
        serve.shutdown()


def _replica_error() -> str:
    """Return the last line of the replicas' error: Serve itself names only a deployment."""
    application = serve.status().applications.get(NAME)
    messages = (
        "".join(deployment.message for deployment in application.deployments.values())
        if application
        else ""
    )
    return messages.strip().rpartition("\n")[2]


def _application(settings: Settings) -> Application:
    """Prepare for a service, once, and say what its replicas are. Raises StartupError."""
    storage.check(settings)
    settings = prepare_with_absolute_paths(settings)
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
                "runtime_env": {"env_vars": {"RAY_USE_UVLOOP": "0", **HIDE_UNASSIGNED_GPUS}},
            },
        )
        .bind(settings, inherited_environment())
    )
