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
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import ray
from ray import serve, train
from ray.serve import Application
from ray.serve.config import AutoscalingConfig
from ray.train.torch import TorchTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from torch import nn
from torch.optim import Optimizer

from app.api.hosted import HEALTH_EVERY, Hosted
from app.main import create_app
from app.runtime import Runtime, begun
from app.settings import Settings, read_settings
from app.start import CannotStart, open_registry
from app.train import process, saved
from app.train.assignment import Assignment
from app.train.leash import Leash
from app.train.run import work as run_attempt
from app.train.saved import Position

NAME: Final = "mynet"
# Told to replicas and trainings, wherever they are: where traces and trackers are.
TOLD: Final = ("OTEL_", "MLFLOW_")
# Seconds for the end of what is under way.
GRACE: Final = 20.0
WATCH: Final = 2.0
START_TRIES: Final = 3
TRAIN_GRACE: Final = 4.0
DEATHS: Final = 3
STATE: Final = "state.pt"
ON_RAY: Final = Runtime(open_registry, lambda _: None, "app.on_ray")
# How often Ray Train looks after its workers: by then what is saved counts.
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.25")
log = logging.getLogger("app.on_ray")


class Replica:
    """The app in one of Ray's processes."""

    def __init__(self, settings: Settings, told: Mapping[str, str]) -> None:
        address = ray.get_runtime_context().gcs_address  # for the trainings that it starts
        os.environ.update(told, RAY_ADDRESS=address)
        self.hosted = Hosted(create_app(settings, runtime=ON_RAY))

    async def __serve_build_asgi_app__(self) -> Hosted:
        """Begin here, so that Serve hears why where that fails."""
        await self.hosted.begin()
        self.watching = asyncio.create_task(self.hosted.drain_unasked())
        return self.hosted

    async def check_health(self) -> None:
        """Ready is healthy. Raises NotReady."""
        await self.hosted.check()


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
            "num_cpus": replicas + settings.effective_train_threads,
            "include_dashboard": False,
        }
    try:
        ray.init(address or "local", **options)
    except Exception as error:  # nothing more exact is raised for a node that does not start
        where = f"RAY_ADDRESS={address} cannot be reached" if address else "Ray does not start"
        raise CannotStart(f"{where}: {error}") from error
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
    settings = begun(settings)
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


class InCheckpoints:
    """A training's state, in Ray Train's checkpoints."""

    def save(self, model: nn.Module, optimizer: Optimizer, position: Position) -> None:
        with TemporaryDirectory() as folder:
            saved.save(Path(folder, STATE), model, optimizer, position)
            checkpoint = train.Checkpoint.from_directory(folder)
            train.report({"epoch": position.epoch}, checkpoint=checkpoint)

    def restore(self, model: nn.Module, optimizer: Optimizer) -> Position | None:
        checkpoint = train.get_checkpoint()
        if checkpoint is None:
            return None
        with checkpoint.as_directory() as folder:
            return saved.restore(Path(folder, STATE), model, optimizer)


def attempt() -> None:
    """Run one attempt at a job under Ray Train; the supervisor starts and ends it as any other."""
    assignment, stop = Assignment.model_validate_json(sys.stdin.readline()), threading.Event()
    ray.init(os.environ["RAY_ADDRESS"], logging_level="warning")
    process.ends_in_order(stop, TRAIN_GRACE)
    here = ray.get_runtime_context().get_node_id()
    beside = NodeAffinitySchedulingStrategy(here, soft=False)
    leash = ray.remote(Leash).options(num_cpus=0, scheduling_strategy=beside).remote()
    threading.Thread(target=lambda: stop.wait() and leash.pull.remote(), daemon=True).start()
    given = {"assignment": assignment.model_dump_json(), "told": _told(), "leash": leash}
    try:
        _trainer(assignment, given).fit()
    except train.TrainingFailedError as error:
        log.error("job %s: the run failed: %s", assignment.job_id, error)
        sys.exit(1)
    sys.exit(ray.get(leash.end.remote()))


def _trainer(assignment: Assignment, given: dict[str, Any]) -> TorchTrainer:
    settings = assignment.settings
    return TorchTrainer(
        _work,
        train_loop_config=given,
        scaling_config=train.ScalingConfig(
            num_workers=1,
            use_gpu=settings.effective_train_device.startswith("cuda"),
            resources_per_worker={"CPU": settings.effective_train_threads},
        ),
        run_config=train.RunConfig(
            name=assignment.job_id,
            storage_path=settings.ray_storage or str(settings.jobs_dir),
            failure_config=train.FailureConfig(max_failures=DEATHS),
            checkpoint_config=train.CheckpointConfig(num_to_keep=1),
            worker_runtime_env={"env_vars": {"OMP_WAIT_POLICY": "PASSIVE"}},
        ),
    )


def _work(given: dict[str, Any]) -> None:
    """What Ray Train's worker does; what goes wrong is told to the job, as without Ray."""
    os.environ.update(given["told"])
    process.give_way(os.getpid())
    stop, leash = threading.Event(), given["leash"]

    def listen() -> None:
        with suppress(ray.exceptions.RayActorError):  # who holds the leash is gone: that is a pull
            ray.get(leash.until_pulled.remote())
        stop.set()

    threading.Thread(target=listen, daemon=True).start()
    try:
        run_attempt(Assignment.model_validate_json(given["assignment"]), stop, InCheckpoints())
    except SystemExit as ended:
        ray.get(leash.end.remote(ended.code))


def _told() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(TOLD)}


if __name__ == "__main__":
    from app import on_ray  # workers find by that name what is not found in a main module

    on_ray.attempt()
