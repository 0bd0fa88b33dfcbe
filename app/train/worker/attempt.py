"""Attempt of a job: its settings, hyperparameters, device, files and fenced writes."""

from dataclasses import dataclass

import torch

from app.config.settings import Settings
from app.database.jobs import JobStore
from app.database.tables import Job
from app.net import pick_device
from app.telemetry.tracing import EndStage, noop
from app.train.jobs import job as jobs
from app.train.jobs.fenced_writer import FencedWriter
from app.train.jobs.hyperparameters import Hyperparameters
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

    @classmethod
    def begin(
        cls,
        settings: Settings,
        store: JobStore,
        registry: Registry,
        job_id: str,
        number: int,
        trace_stage: EndStage = noop,
    ) -> "JobAttempt":
        """Return the attempt, after reading the job and choosing the device.

        Raises NotFound, InvalidBucket, DeviceUnavailable.
        """
        job = jobs.get(store, job_id)
        hyperparameters = Hyperparameters(**job.hyperparameters)
        device = pick_device(hyperparameters.device or settings.effective_train_device)
        files = job_files(settings, job_id, number)
        writer = FencedWriter(store, job_id, number)
        return cls(settings, writer, registry, job, hyperparameters, device, files, trace_stage)
