"""One attempt at one job: what it works with, and how it tells of what it does.

What enters: a job's id and the attempt's number. What leaves: changes of the job, each refused once
another attempt runs, or none. This module does not know what there is to do.
"""

from dataclasses import dataclass
from typing import Any

import torch

from app.config.settings import Settings
from app.database.store import Store
from app.database.tables import Job
from app.net import pick_device
from app.telemetry.tracing import EndStage, noop
from app.train.jobs import job as jobs
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.worker.state import JobFiles
from app.train.worker.state_replica import job_files
from app.versions.registry import Registry


class Diverged(Exception):
    """The training left the finite numbers; the message says what may help."""


class Stopped(Exception):
    """The supervisor asked this process to end, and the state is saved."""


class PeerLost(Exception):
    """The processes of one training lost one another; what started them starts them again."""


@dataclass(frozen=True)
class JobAttempt:
    """What one attempt works with; its writes are refused once another attempt runs.

    `job` is as it was when the attempt began; `trace_stage` records what ended since the last call.
    """

    settings: Settings
    store: Store
    registry: Registry
    job: Job
    number: int
    hyperparameters: Hyperparameters
    device: torch.device
    files: JobFiles
    trace_stage: EndStage = noop

    @classmethod
    def begin(
        cls,
        settings: Settings,
        store: Store,
        registry: Registry,
        job_id: str,
        number: int,
        trace_stage: EndStage = noop,
    ) -> "JobAttempt":
        """Look up what was asked for, and where to train.

        Raises NotFound, InvalidBucket, DeviceUnavailable.
        """
        job = jobs.get(store, job_id)
        hyperparameters = Hyperparameters(**job.hyperparameters)
        device = pick_device(hyperparameters.device or settings.effective_train_device)
        files = job_files(settings, job_id, number)
        return cls(
            settings, store, registry, job, number, hyperparameters, device, files, trace_stage
        )

    def record(self, kind: str, data: dict[str, Any], **values: Any) -> None:
        """Record progress. Raises Superseded."""
        jobs.record(self.store, self.job.id, self.number, kind, data, **values)

    def record_progress_saved(self) -> None:
        """Record that there is newly saved state. Raises Superseded."""
        jobs.reset_failures(self.store, self.job.id, self.number)

    def begin_commit(self) -> None:
        """Make sure that this attempt may store and promote. Raises Superseded."""
        jobs.begin_finish(self.store, self.job.id, self.number)

    def is_committing(self) -> bool:
        """Return whether an attempt began to store and promote: an earlier one, or this one."""
        return jobs.get(self.store, self.job.id).committing

    def succeed(self, result: dict[str, Any]) -> None:
        """End the job. Raises Superseded."""
        jobs.succeed(self.store, self.job.id, self.number, result)
