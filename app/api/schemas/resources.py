"""Request and response bodies of the service's own routes."""

from datetime import datetime
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,  # pydantic requires these before Python 3.12
)

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from app.train.jobs.hyperparameters import Hyperparameters, Whole
from app.train.jobs.job import Status
from app.versions.card import Card, EpochRecord


class Normalisation(BaseModel):
    """How the upload was preprocessed for the network."""

    inverted: bool = Field(description="the ink was darker than its background")
    box: tuple[int, int, int, int] = Field(
        description="left, top, right and bottom of the ink, in pixels of the upright upload"
    )
    shift: tuple[float, float] = Field(
        description="x and y that centred the mass, in pixels of the 28×28 image"
    )


class Prediction(BaseModel):
    id: str
    digit: int = Field(ge=0, le=9)
    confidence: float = Field(description="the probability of `digit`")
    probabilities: list[float] = Field(min_length=10, max_length=10)
    is_digit: bool = Field(description="false if the image does not look like a digit")
    version: int
    seen: str | None = Field(  # plain-words: ok
        None, description="the 28×28 input of the network, a PNG data URL"
    )
    saliency: str | None = Field(
        None, description="the pixels that support `digit`, a PNG data URL"
    )
    normalisation: Normalisation | None = None


class FieldProblem(BaseModel):
    field: str
    message: str


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FieldProblem] | None = None


class Refused(BaseModel):
    error: Problem


class Predictions(BaseModel):
    predictions: list[Prediction | Refused]
    version: int


class Progress(BaseModel):
    epoch: int
    epochs: int
    batch: int
    batches: int
    fraction: float
    eta: float = Field(description="remaining seconds, at the speed so far")


class Result(BaseModel):
    version: int
    test_accuracy: float
    promoted: bool
    reason: str


class JobError(BaseModel):
    code: str
    message: str


class JobHyperparameters(Hyperparameters):
    """The hyperparameters of a job: those of the request, and the recipe's values for the rest."""

    seed: int


class Job(BaseModel):
    """A training job. Each finished epoch is appended to `epochs`."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    status: Status
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    hyperparameters: JobHyperparameters
    attempt: int
    progress: Progress | None
    epochs: list[EpochRecord]
    result: Result | None
    error: JobError | None
    sweep: str | None = Field(None, description="id of the sweep that the job belongs to")


class Jobs(BaseModel):
    data: list[Job]
    has_more: bool


class StatusTold(TypedDict):
    """The new status of a job, with the number of a new attempt, or with an error or a reason."""

    status: Status
    attempt: NotRequired[int]
    error: NotRequired[JobError]
    reason: NotRequired[str]


class BatchTold(TypedDict):
    """The loss of a batch; `batch` counts from 1 in each epoch."""

    epoch: int
    batch: int
    loss: float


class Streamed(BaseModel):
    """A server-sent event."""

    id: str = Field(pattern="^[0-9]+$", description="counts up, over all jobs")
    event: Literal["status", "batch", "epoch", "result"]
    data: str = Field(
        description="JSON, the same as `data` in a page of events",
        json_schema_extra={"contentMediaType": "application/json"},
    )


class JobEvent(BaseModel):
    """An event of a job. `data` is the same as in the server-sent event."""

    model_config = ConfigDict(from_attributes=True)

    id: int = Field(validation_alias="number", description="counts up, over all jobs")
    at: datetime


class StatusEvent(JobEvent):
    event: Literal["status"] = Field(validation_alias="kind")
    data: StatusTold


class BatchEvent(JobEvent):
    event: Literal["batch"] = Field(validation_alias="kind")
    data: BatchTold


class EpochEvent(JobEvent):
    event: Literal["epoch"] = Field(validation_alias="kind")
    data: EpochRecord


class ResultEvent(JobEvent):
    event: Literal["result"] = Field(validation_alias="kind")
    data: Result


Event = Annotated[StatusEvent | BatchEvent | EpochEvent | ResultEvent, Field(discriminator="event")]


class Events(BaseModel):
    data: list[Event]
    has_more: bool


class Versions(BaseModel):
    data: list[Card]
    current: int | None


class TestImage(BaseModel):
    """One of MNIST's 10,000 test images, with the prediction of a version."""

    index: int = Field(description="position in MNIST's test set, from 0")
    digit: int = Field(description="the label of the image")
    answer: int = Field(description="the predicted digit")
    confidence: float = Field(description="the probability of `answer`")
    image: str = Field(description="28×28 pixels, a PNG data URL")


class TestImages(BaseModel):
    data: list[TestImage]
    has_more: bool


class Label(BaseModel):
    """The fields other than `file` in the body of `POST /feedback`."""

    label: int = Field(ge=0, le=9, description="the digit that the image shows")
    prediction_id: str = Field(
        "", pattern="^[A-Za-z0-9_-]{0,64}$", description="`id` of the prediction that was wrong"
    )


class Correction(BaseModel):
    """An image with its correct label, sent by a client."""

    model_config = ConfigDict(from_attributes=True)

    id: str = Field(
        description="derived from the pixels, so it does not depend on the image format"
    )
    label: int = Field(ge=0, le=9, description="the digit that the image shows")
    prediction_id: str | None = Field(description="`id` of the prediction that was wrong")
    created_at: datetime


class Corrections(BaseModel):
    data: list[Correction]
    has_more: bool


class Promotion(BaseModel):
    """The body of `PUT /models/current`."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: Whole = Field(ge=1)


class SweepJob(BaseModel):
    """Summary of a job of a sweep. `GET /train/{id}` returns the full job."""

    id: str
    hyperparameters: dict[str, Any] = Field(
        description="the hyperparameters that differ between the jobs"
    )
    status: Status
    fraction: float = Field(description="progress, from 0 to 1")
    test_accuracy: float | None
    version: int | None


class BestJob(SweepJob):
    """The best job of a sweep: by highest test accuracy, lowest test loss, then lowest number."""

    test_accuracy: float
    test_loss: float | None = Field(description="test loss after the last epoch")
    version: int


class Sweep(BaseModel):
    """A group of jobs that differ in their hyperparameters."""

    id: str
    name: str | None
    status: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    created_at: datetime
    finished_at: datetime | None
    hyperparameters: dict[str, Any] = Field(description="the request, with the seed that was drawn")
    jobs: list[SweepJob]
    best: BestJob | None = Field(description="the best job so far that created a version")
    error: JobError | None


class Sweeps(BaseModel):
    data: list[Sweep]
    has_more: bool
