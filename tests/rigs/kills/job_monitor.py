"""Monitor of jobs under kills: what a job has shown or saved must not be taken back.

It counts log lines that were lost or changed, and finds where a kill hit and how a job ended.
"""

import os
import time
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch

from app.database.database import Database
from app.database.jobs import JobStore
from app.database.tables import Job
from app.train.jobs.checkpoints import Checkpoints
from app.train.jobs.job import Status
from app.versions.registry import Registry
from tests.service.running import Service

FINAL_STATUSES: Final = ("succeeded", "failed", "cancelled")
JOB_TIMEOUT: Final = 1200  # others may load the machine, too


class Saved(NamedTuple):
    """A saved state: which file it is, and how many batches it has seen."""

    file: tuple[int, int]
    batches: int


class JobStage(StrEnum):
    """The progress of a job when a kill hit it."""

    UNSAVED = "before the first saved state"
    SAVED = "on the way"
    TRAINED = "all trained, version not stored"
    STORED = "version stored, job not ended"
    ENDED = "just ended"


class Hit(NamedTuple):
    """A kill: the stage of the job, the epochs that it had shown, and those that were saved."""

    stage: JobStage
    displayed_epochs: float
    saved_epochs: float


def read_saved(state: Path, job: str, batches_per_epoch: int) -> Saved | None:
    """Read how far a job's saved state is; an epoch has so many batches."""
    try:
        with (state / "jobs" / f"{job}.pt").open("rb") as file:
            status = os.fstat(file.fileno())
            checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    position = checkpoint["position"]
    batches = position["epoch"] * batches_per_epoch + len(position["losses"])
    return Saved((status.st_mtime_ns, status.st_ino), batches)


class Outcome(NamedTuple):
    """The outcome of a job, which must be the same with and without kills."""

    status: str
    weights: list[str]
    promoted: bool
    stopped_by: str | None
    epochs: list[tuple[float, ...]]
    checkpoints: list[str]
    log: str


class Witness:
    """Remembers what has been shown, across deaths of the service."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.logs: dict[str, str] = {}
        self.changed_logs = 0

    def observe(self, service: Service, job: str) -> dict[str, Any]:
        """Request a job and its log, and count a log that lost lines."""
        log = service.text(f"/train/{job}/log")
        self.changed_logs += not log.startswith(self.logs.get(job, ""))
        self.logs[job] = log
        return service.get(f"/train/{job}")

    def outcome(self, service: Service, job: str) -> Outcome:
        """Wait for the end of a job, and return its outcome."""
        deadline = time.monotonic() + JOB_TIMEOUT
        while (body := self.observe(service, job))["status"] not in FINAL_STATUSES:
            assert time.monotonic() < deadline, body
            time.sleep(0.1)
        losses = [
            tuple(value for name, value in epoch.items() if name != "seconds")
            for epoch in body["epochs"]
        ]
        cards = service.get("/models")["data"]
        weights = [card["weights_digest"] for card in cards if card["job"] == job]
        result = body["result"] or {"promoted": False, "stopped_by": None}
        return Outcome(
            body["status"],
            weights,
            result["promoted"],
            result["stopped_by"],
            losses,
            self.checkpoints(job),
            self.logs[job],
        )

    def checkpoints(self, job: str) -> list[str]:
        """Return the digests of the weights of a job's epochs."""
        checkpoints = Checkpoints(self.state / "checkpoints", 1000)
        return [checkpoints.read(job, epoch)[1].weights_digest for epoch in checkpoints.sizes(job)]

    def hit(self, job_id: str) -> Hit:
        """Return where a kill has hit a job, from what lies on disk."""
        with closing(Database(f"sqlite:///{self.state / 'mynet.db'}")) as database:
            job = JobStore(database).job(job_id)
        assert job is not None
        progress = job.progress or {"epoch": 0, "batch": 0, "batches": 600, "fraction": 0}
        batches_per_epoch = progress["batches"]
        state = read_saved(self.state, job_id, batches_per_epoch)
        saved_epochs = state.batches / batches_per_epoch if state else 0
        return Hit(
            self._stage(job, state),
            progress["epoch"] + progress["batch"] / batches_per_epoch,
            saved_epochs,
        )

    def _stage(self, job: Job, state: Saved | None) -> JobStage:
        if Status(job.status).is_final:
            return JobStage.ENDED
        if any(card.job == job.id for card in Registry(self.state / "models").cards()):
            return JobStage.STORED
        if job.progress and job.progress["fraction"] == 1:
            return JobStage.TRAINED
        return JobStage.SAVED if state else JobStage.UNSAVED
