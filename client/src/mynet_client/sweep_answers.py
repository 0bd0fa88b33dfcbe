"""Response models of sweeps."""

from datetime import datetime
from typing import Any

from mynet_client.answers import FINAL, JobError, ResponseModel


class SweepJob(ResponseModel):
    """A job of a sweep, abridged; `hyperparameters` are those that differ between the jobs."""

    id: str
    hyperparameters: dict[str, Any]
    status: str
    fraction: float
    test_accuracy: float | None = None
    version: int | None = None


class BestJob(SweepJob):
    """The best job of a sweep so far: by test accuracy, then test loss, then age."""

    test_accuracy: float
    test_loss: float | None = None
    version: int


class Sweep(ResponseModel):
    """A group of jobs: queued, running, succeeded, failed or cancelled."""

    id: str
    name: str | None = None
    status: str
    created_at: datetime
    finished_at: datetime | None = None
    hyperparameters: dict[str, Any]
    jobs: list[SweepJob]
    best: BestJob | None = None
    error: JobError | None = None

    @property
    def is_final(self) -> bool:
        return self.status in FINAL


class Sweeps(ResponseModel):
    """A page of sweeps, newest first."""

    data: list[Sweep]
    has_more: bool
