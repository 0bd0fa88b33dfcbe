"""The body of a webhook, as `app.webhooks.outbox` stores it."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from app.api.schemas.resources import JobError, JobHyperparameters, Result
from app.train.jobs.job import Status


class JobSummary(BaseModel):
    """A job that has ended, without its epochs. `GET /train/{id}` returns the whole job."""

    id: str
    status: Status
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime
    hyperparameters: JobHyperparameters
    attempt: int
    result: Result | None
    error: JobError | None


class WebhookMessage(BaseModel):
    """A message about a job that has ended. Its body stays the same in every attempt."""

    type: Literal["job.succeeded", "job.failed", "job.cancelled", "job.promoted"]
    timestamp: datetime = Field(description="when the job ended")
    data: JobSummary
