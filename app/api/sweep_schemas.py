"""The bodies of answers about sweeps, as clients see them.

What enters: what is known of a sweep. What leaves: JSON. This module does not know how anything
came about.
"""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field

from app.api.schemas import JobError, Result
from app.train.jobs.job import Status


class SweepJob(BaseModel):
    """A job of a sweep, in short; `/train` has it whole."""

    id: str
    hyperparameters: dict[str, Any] = Field(description="those that differ between the jobs")
    status: Status
    fraction: float = Field(description="how much of it is done, of 1")
    test_accuracy: float | None
    version: int | None


class Sweep(BaseModel):
    """A group of jobs that differ in their hyperparameters, the best of which may go live."""

    id: str
    name: str | None
    status: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    created_at: datetime
    finished_at: datetime | None
    hyperparameters: dict[str, Any] = Field(
        description="what was asked for, with the seed that was drawn"
    )
    jobs: list[SweepJob]
    best: SweepJob | None = Field(description="so far; in the end, whose version is the result")
    result: Result | None
    error: JobError | None


class Sweeps(BaseModel):
    data: list[Sweep]
    has_more: bool
