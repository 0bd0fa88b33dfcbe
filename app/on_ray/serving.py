"""Ray Serve deployment of the app.

`mynet serve --on ray` keeps running and takes the service down when it ends. `serve run
app.on_ray:app` and `serve deploy` hand the service over to Ray.
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
from app.main import configure_logs, create_app
from app.on_ray import storage
from app.on_ray.asgi import HEALTH_EVERY, HostedApp
from app.on_ray.environment import HIDE_UNASSIGNED_GPUS, inherited_environment
from app.on_ray.metrics import RayMetricsBridge
from app.server.runtime import Runtime, prepare_with_absolute_paths
from app.startup import StartupError, prepare_registry
from app.telemetry import tracing_setup

NAME: Final = "mynet"
# Seconds for in-flight requests during shutdown.
GRACE: Final = 20.0
WATCH: Final = 2.0
START_TRIES: Final = 3
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
ON_RAY: Final = Runtime(
    lambda settings, _: prepare_registry(settings),
    lambda _: None,
    "app.on_ray.training",
    storage.delete_finished_runs,
)
log = logging.getLogger(__name__)


class Replica:
    """The app in one of Ray's processes."""

    def __init__(self, settings: Settings, environment: Mapping[str, str]) -> None:
        address = ray.get_runtime_context().gcs_address  # for the training jobs that it starts
        os.environ.update(environment, RAY_ADDRESS=address)
        traces = tracing_setup.begin()
        configure_logs(settings, traces)
        self.hosted_app = HostedApp(create_app(settings, traces, runtime=ON_RAY))

    async def __serve_build_asgi_app__(self) -> HostedApp:
        """Start the app here, so that Serve gets the error if that fails."""
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
        """Raise NotReady, which Serve counts as unhealthy, if the app is not ready."""
        await self.hosted_app.check()


def app(_: dict[str, str]) -> Application:
    """Return the application for Serve's own commands. Raises StartupError, SettingsError."""
    settings = load_settings()
    if settings.auth is None:
        raise StartupError(
            "MYNET_AUTH is not set, and Serve may listen on addresses other than loopback. "
            "Set MYNET_AUTH to keys, predict or none."
        )
    return _application(settings)


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, and finish in-flight requests. Raises StartupError."""
    with _cluster(settings):
        for number in STOP_SIGNALS:
            signal.signal(number, _end)
        application = _application(settings)
        with _listening(settings):
            try:
                serve.run(application, name=NAME, route_prefix="/")
            except RuntimeError as error:
                raise StartupError(
                    f"The replicas failed to start: {_replica_error() or error}"
                ) from error
            log.info("serving on http://%s:%d", settings.host, settings.port)
            while True:
                time.sleep(WATCH)
                serve.status()  # raises if the cluster is gone


def _end(*_: object) -> None:
    """Exit through the context managers, once, also while replicas wait for room on a node."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    sys.exit()


@contextmanager
def _cluster(settings: Settings) -> Iterator[None]:
    """Connect to the cluster at RAY_ADDRESS, or run one on this machine inside the context."""
    address, options = os.environ.get("RAY_ADDRESS"), dict[str, Any](logging_level="warning")
    if not address:
        # Ray only counts these cores; the count must allow all processes to run at the same time.
        replicas = max(settings.workers, settings.ray_max_replicas or 1)
        options |= {
            "num_cpus": replicas + settings.ray_train_workers * settings.effective_train_threads,
            "include_dashboard": False,
        }
    try:
        ray.init(address or "local", **options)
    except Exception as error:  # Ray raises nothing more specific if a node does not start
        where = f"RAY_ADDRESS={address} cannot be reached" if address else "Ray could not start"
        raise StartupError(f"{where}: {error}") from error
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _listening(settings: Settings) -> Iterator[None]:
    """Start Serve's proxies on every node of the cluster; running ones are left alone."""
    if len(settings.hosts) > 1 or settings.uds or settings.tls_cert:
        raise StartupError(
            "On Ray, MYNET_HOST is one address, and MYNET_UDS and MYNET_TLS_CERT cannot be set."
        )
    if serve.status().proxies:
        raise StartupError("Serve already runs on this cluster. Use `serve deploy` instead.")
    options = {"host": settings.host, "port": settings.port}
    serve.start(proxy_location="EveryNode", http_options=options)
    try:
        yield
    finally:
        serve.shutdown()


def _replica_error() -> str:
    """Return the last line of the replicas' error; Serve's own error only names a deployment."""
    application = serve.status().applications.get(NAME)
    messages = (
        "".join(deployment.message for deployment in application.deployments.values())
        if application
        else ""
    )
    return messages.strip().rpartition("\n")[2]


def _application(settings: Settings) -> Application:
    """Prepare the service once, and return its Serve application. Raises StartupError."""
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
            # The app rejects requests over its limits with its own errors.
            max_ongoing_requests=2 * settings.max_queue,
            health_check_period_s=HEALTH_EVERY,
            graceful_shutdown_timeout_s=GRACE,
            max_constructor_retry_count=START_TRIES,
            logging_config={"enable_access_log": False},  # the app has its own
            ray_actor_options={
                "num_gpus": int(settings.device.startswith("cuda")),
                # uvloop cannot start a process in a process group of its own.
                "runtime_env": {"env_vars": {"RAY_USE_UVLOOP": "0", **HIDE_UNASSIGNED_GPUS}},
            },
        )
        .bind(settings, inherited_environment())
    )
