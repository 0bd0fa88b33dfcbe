"""Bodies about the plan, the end and the checkpoints of a training job."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from app.train.jobs.hyperparameters import Hyperparameters
from app.versions.card import EpochRecord


class NextAction(BaseModel):
    """A request that a client may send next."""

    action: str = Field(description="`promote` or `rollback`")
    method: str
    path: str
    body: dict[str, Any] | None


class DryRun(BaseModel):
    """What a job would do. Nothing was queued."""

    model_config = ConfigDict(from_attributes=True)

    hyperparameters: Hyperparameters = Field(description="the seed is null if it would be drawn")
    images: dict[str, int] = Field(description="training images by digit, with the corrections")
    non_digits: int = Field(
        description="corrections that show no digit and that the recipe trains with"
    )
    validation_images: int = Field(description="how many of them are held out")
    steps: int = Field(description="batches over all epochs")
    jobs_ahead: int = Field(description="queued and running jobs")
    estimated_seconds: float | None = Field(
        description="time of the epochs, from the jobs that trained with this recipe and device "
        "and the closest batch size; null if there are none"
    )


class Checkpoint(EpochRecord):
    """The weights of a job after an epoch."""

    bytes: int = Field(description="size of the file")


class CheckpointList(BaseModel):
    data: list[Checkpoint]
