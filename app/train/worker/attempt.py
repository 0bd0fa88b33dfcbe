"""Attempt of a job: its settings, hyperparameters, device, files and fenced writes."""

from dataclasses import dataclass, field

import torch

from app.config.settings import Settings
from app.database.jobs import JobStore
from app.database.tables import Job
from app.devices import pick_device
from app.net import Weights
from app.telemetry.tracing import EndStage, noop
from app.train.jobs.checkpoints import Checkpoints
from app.train.jobs.fenced_writer import FencedWriter, Superseded
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.jobs.phase import Phase
from app.train.plan import initial_weights
from app.train.worker.heartbeat import Heartbeat
from app.train.worker.state import JobFiles
from app.train.worker.state_replica import job_files
from app.versions.registry import Registry


class Diverged(Exception):
    """The loss or a weight is no longer finite. The message names a remedy."""


class Stopped(Exception):
    """The supervisor asked this process to stop, and the state is saved."""


class PeerLost(Exception):
    """A process of a distributed training lost its peers. The launcher restarts all of them."""


@dataclass(frozen=True)
class JobAttempt:
    """The objects of one attempt.

    `job` is the row at the start of the attempt. `trace_stage` records the end of a stage.
    """

    settings: Settings
    writer: FencedWriter
    registry: Registry
    job: Job
    hyperparameters: Hyperparameters
    device: torch.device
    files: JobFiles
    trace_stage: EndStage = noop
    heartbeat: Heartbeat = field(default_factory=Heartbeat)

    @property
    def checkpoints(self) -> Checkpoints:
        """The checkpoints of all jobs."""
        return Checkpoints(self.settings.checkpoints_dir, self.settings.keep_checkpoints)

    def begin_phase(self, phase: Phase, done: int | None = None, total: int | None = None) -> None:
        """Record what the attempt does from now on. Raises Superseded, NotReady."""
        self.heartbeat.beat()
        self.writer.begin_phase(phase, done, total)

    def initial_weights(self) -> Weights | None:
        """Return the weights that the job begins with, or None if they are random.

        Raises Superseded if the job has ended, because they are deleted then; NotReady.
        """
        if self.hyperparameters.init is None:
            return None
        content = self.writer.store.initial_weights(self.job.id)
        if content is None:
            raise Superseded(self.job.id)
        return initial_weights.from_bytes(content)

    @classmethod
    def begin(
        cls,
        settings: Settings,
        store: JobStore,
        registry: Registry,
        job_id: str,
        number: int,
        trace_stage: EndStage = noop,
        heartbeat: Heartbeat | None = None,
    ) -> "JobAttempt":
        """Return the attempt, after reading the job and choosing the device.

        Raises Superseded, InvalidBucket, DeviceUnavailable.
        """
        writer = FencedWriter(store, job_id, number)
        job = writer.job()
        hyperparameters = Hyperparameters(**job.hyperparameters)
        name = pick_device(hyperparameters.device or settings.effective_train_device)
        device = torch.device(name)
        heartbeat = heartbeat or Heartbeat()
        files = job_files(settings, job_id, number, heartbeat.beat)
        return cls(
            settings,
            writer,
            registry,
            job,
            hyperparameters,
            device,
            files,
            trace_stage,
            heartbeat,
        )
