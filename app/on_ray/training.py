"""Training jobs under Ray Train, and the actor that tells them to stop."""

import asyncio
import logging
import os
import sys
import threading
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import ray
from pyarrow.fs import FileSystem
from ray import train
from ray.train.torch import TorchTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from torch import nn
from torch.optim import Optimizer

from app import subprocesses
from app.config.settings import Settings
from app.database.database import Database
from app.database.jobs import JobStore
from app.database.tables import Job
from app.on_ray.environment import HIDE_UNASSIGNED_GPUS, inherited_environment
from app.train.jobs import job as jobs
from app.train.jobs.assignment import Assignment
from app.train.worker import state
from app.train.worker.attempt import PeerLost
from app.train.worker.ddp import DataParallelGroup, run_rank
from app.train.worker.heartbeat import Heartbeat
from app.train.worker.main import prepared_process, run_attempt
from app.train.worker.state import Position

TRAIN_GRACE: Final = 4.0
DEATHS: Final = 3
STATE: Final = "state.pt"
# Seconds between Ray Train's checks of its workers; a saved state counts after the next check.
WORKER_TIMEOUT: Final = "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S"
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.25")
# An actor for each group of workers, which tells them that their node will be preempted. The state
# is saved all along, so that nothing is to be done then.
os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
log = logging.getLogger("app.on_ray")


class RayCheckpointer:
    """Stores the training state in Ray Train checkpoints."""

    def save(self, model: nn.Module, optimizer: Optimizer, position: Position) -> None:
        """Save the state on all ranks. Raises PeerLost."""
        with TemporaryDirectory() as folder:
            state.save(Path(folder, STATE), model, optimizer, position)
            checkpoint = train.Checkpoint.from_directory(folder)
            try:
                train.report({"epoch": position.epoch}, checkpoint=checkpoint)
            except ray.exceptions.RayError as error:  # Ray Train ends all ranks after one has died
                raise PeerLost(f"Ray Train could not save the state: {error}") from error

    def restore(self, model: nn.Module, optimizer: Optimizer) -> Position | None:
        checkpoint = train.get_checkpoint()
        if checkpoint is None:
            return None
        with checkpoint.as_directory() as folder:
            return state.restore(Path(folder, STATE), model, optimizer)


class StopSignal:
    """Actor on the node of the process that the supervisor started; it ends with that process."""

    def __init__(self) -> None:
        self._stopped = asyncio.Event()
        self.code = 0

    async def set(self) -> None:
        self._stopped.set()

    async def wait(self) -> None:
        await self._stopped.wait()

    async def end(self, code: int | None = None) -> int:
        """Store the exit code, if the worker sends one, and return it."""
        self.code = self.code if code is None else code
        return self.code


def attempt() -> None:
    """Run one attempt at a job under Ray Train, as a process of the supervisor."""
    assignment, stop = Assignment.model_validate_json(sys.stdin.readline()), threading.Event()
    heartbeat = Heartbeat.on_stdout()
    job = _job(assignment)
    if job is None:  # a client has cancelled and deleted it: nothing is left to do
        log.info("attempt superseded: job=%s attempt=%d", assignment.job_id, assignment.attempt)
        return
    ray.init(os.environ["RAY_ADDRESS"], logging_level="warning")
    subprocesses.exit_gracefully_with_parent(stop, TRAIN_GRACE)
    device = job.hyperparameters["device"] or assignment.settings.effective_train_device
    on_gpu = device.startswith("cuda")
    if on_gpu and not ray.cluster_resources().get("GPU"):
        return _fail(
            assignment,
            "No node of the Ray cluster has a GPU. Train with device=cpu, or add a GPU node.",
        )
    node_id = ray.get_runtime_context().get_node_id()
    same_node = NodeAffinitySchedulingStrategy(node_id, soft=False)
    stop_signal = ray.remote(StopSignal).options(num_cpus=0, scheduling_strategy=same_node).remote()
    threading.Thread(target=lambda: stop.wait() and stop_signal.set.remote(), daemon=True).start()
    config = {
        "assignment": assignment.model_dump_json(),
        "environment": inherited_environment(),
        "stop_signal": stop_signal,
    }
    _forget_damaged(assignment)
    # Ray Train restarts workers that do not answer, and a job may wait long for a node.
    os.environ[WORKER_TIMEOUT] = str(assignment.settings.train_stall_seconds)
    try:
        with heartbeat.beating_while(lambda: True):
            _trainer(assignment, config, on_gpu=on_gpu).fit()
    except train.TrainingFailedError as error:
        log.error("training run failed: job=%s error=%s", assignment.job_id, error)
        sys.exit(1)
    sys.exit(ray.get(stop_signal.end.remote()))


def _job(assignment: Assignment) -> Job | None:
    with closing(Database(assignment.settings.effective_database_url)) as database:
        return JobStore(database).job(assignment.job_id)


def _fail(assignment: Assignment, message: str) -> None:
    with closing(Database(assignment.settings.effective_database_url)) as database:
        store = JobStore(database)
        jobs.fail(store, assignment.job_id, assignment.attempt, "bad_device", message)


def _forget_damaged(assignment: Assignment) -> None:
    """Delete a run that Ray Train cannot resume, for example after a node lost power.

    Ray Train would not even start the job.
    """
    files, folder = FileSystem.from_uri(_storage(assignment.settings))
    run = f"{folder}/{assignment.job_id}"
    try:
        train.Result.from_path(run, files)
    except (RuntimeError, OSError):  # no run yet, or no storage, which the run will report
        return
    except Exception as error:  # Ray Train's own error, which has no public name
        log.error(
            "run is damaged, training restarts from its seed: job=%s error=%s",
            assignment.job_id,
            error,
        )
        files.delete_dir(run)


def _storage(settings: Settings) -> str:
    return settings.ray_storage or str(settings.jobs_dir)


def _trainer(assignment: Assignment, config: dict[str, Any], *, on_gpu: bool) -> TorchTrainer:
    settings = assignment.settings
    return TorchTrainer(
        _work,
        train_loop_config=config,
        scaling_config=train.ScalingConfig(
            num_workers=settings.ray_train_workers,
            use_gpu=on_gpu,
            resources_per_worker={"CPU": settings.effective_train_threads},
        ),
        run_config=train.RunConfig(
            name=assignment.job_id,
            storage_path=_storage(settings),
            failure_config=train.FailureConfig(max_failures=DEATHS),
            checkpoint_config=train.CheckpointConfig(num_to_keep=1),
            worker_runtime_env={"env_vars": {"OMP_WAIT_POLICY": "PASSIVE", **HIDE_UNASSIGNED_GPUS}},
        ),
    )


def _work(config: dict[str, Any]) -> None:
    """Run one of Ray Train's workers."""
    os.environ.update(config["environment"])
    subprocesses.lower_priority(os.getpid())
    assignment = Assignment.model_validate_json(config["assignment"])
    context = train.get_context()
    if context.get_world_size() == 1:
        _lead(assignment, config["stop_signal"], None)
    elif context.get_world_rank() == 0:
        with closing(DataParallelGroup()) as group:
            _lead(assignment, config["stop_signal"], group)
    else:
        checkpointer = RayCheckpointer()
        run_rank(assignment.settings, DataParallelGroup(), checkpointer, lambda: train.report({}))


def _lead(assignment: Assignment, stop_signal: Any, group: DataParallelGroup | None) -> None:
    """Run the attempt, alone or as rank 0. Errors are stored in the job."""
    stop = threading.Event()

    def listen() -> None:
        with suppress(ray.exceptions.RayActorError):  # the actor ended with its process: stop
            ray.get(stop_signal.wait.remote())
        stop.set()

    threading.Thread(target=listen, daemon=True).start()
    try:
        with prepared_process(assignment) as traces:
            run_attempt(assignment, stop, traces, RayCheckpointer(), group)
    except SystemExit as ended:
        ray.get(stop_signal.end.remote(ended.code))


if __name__ == "__main__":
    attempt()
