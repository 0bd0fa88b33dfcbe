"""Bodies of the service's own routes."""

from datetime import datetime
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,  # pydantic asks for these before Python 3.12
)

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from app.train.jobs.hyperparameters import Hyperparameters, Whole
from app.train.jobs.job import Status
from app.versions.card import Card, EpochRecord


class Normalisation(BaseModel):
    """What was done to the upload before the network saw it."""

    inverted: bool = Field(description="the ink was darker than its background")
    box: tuple[int, int, int, int] = Field(
        description="the ink's left, top, right and bottom, in the upright upload's pixels"
    )
    shift: tuple[float, float] = Field(description="x and y that centred the mass, of 28 pixels")


class Prediction(BaseModel):
    id: str
    digit: int = Field(ge=0, le=9)
    confidence: float = Field(description="the probability of `digit`")
    probabilities: list[float] = Field(min_length=10, max_length=10)
    is_digit: bool = Field(description="false: the image does not look like a digit at all")
    version: int
    seen: str | None = Field(  # plain-words: ok
        None, description="what the network was given, a PNG data URL"
    )
    saliency: str | None = Field(None, description="which pixels spoke for it, a PNG data URL")
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
    eta: float = Field(description="seconds left, at the speed so far")


class Result(BaseModel):
    version: int
    test_accuracy: float
    promoted: bool
    reason: str


class JobError(BaseModel):
    code: str
    message: str


class JobHyperparameters(Hyperparameters):
    """What a job trains with: what was asked for, and the recipe's values for the rest."""

    seed: int


class Job(BaseModel):
    """A training job; `epochs` grows as it goes."""

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
    sweep: str | None = Field(None, description="id of the sweep that it belongs to")


class Jobs(BaseModel):
    data: list[Job]
    has_more: bool


class StatusTold(TypedDict):
    """A job's new status; an attempt's number where one begins, why where something went wrong."""

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
        description="JSON: what the page form has under `data`",
        json_schema_extra={"contentMediaType": "application/json"},
    )


class JobEvent(BaseModel):
    """Something that happened to a job; `data` is what a server-sent event says."""

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
    """One of MNIST's 10,000 test images, with a version's answer."""

    index: int = Field(description="counts from 0, in MNIST's own order")
    digit: int = Field(description="what it shows")
    answer: int = Field(description="what the version reads")
    confidence: float = Field(description="the probability of `answer`")
    image: str = Field(description="28×28 pixels, a PNG data URL")


class TestImages(BaseModel):
    data: list[TestImage]
    has_more: bool


class Label(BaseModel):
    """The fields beside `file` in the body of `POST /feedback`."""

    label: int = Field(ge=0, le=9, description="the digit that the image shows")
    prediction_id: str = Field(
        "", pattern="^[A-Za-z0-9_-]{0,64}$", description="`id` of the prediction that was wrong"
    )


class Correction(BaseModel):
    """An image that somebody corrected."""

    model_config = ConfigDict(from_attributes=True)

    id: str = Field(description="of the picture: the same in whichever format it was sent")
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
    """A job of a sweep, in short; `/train` has it whole."""

    id: str
    hyperparameters: dict[str, Any] = Field(description="those that differ between the jobs")
    status: Status
    fraction: float = Field(description="how much of it is done, of 1")
    test_accuracy: float | None
    version: int | None


class BestJob(SweepJob):
    """The best job of a sweep: by test accuracy, then test loss, then age."""

    test_accuracy: float
    test_loss: float | None = Field(description="after its last epoch")
    version: int


class Sweep(BaseModel):
    """A group of jobs that differ in their hyperparameters."""

    id: str
    name: str | None
    status: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    created_at: datetime
    finished_at: datetime | None
    hyperparameters: dict[str, Any] = Field(
        description="what was asked for, with the seed that was drawn"
    )
    jobs: list[SweepJob]
    best: BestJob | None = Field(description="so far, of the jobs that made a version")
    error: JobError | None


class Sweeps(BaseModel):
    data: list[Sweep]
    has_more: bool
