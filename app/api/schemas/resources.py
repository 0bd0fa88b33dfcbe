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

from app.api.schemas.training import NextAction
from app.api.schemas.webhooks import Delivery, Webhook
from app.train.jobs.hyperparameters import Hyperparameters, Whole
from app.train.jobs.job import Status
from app.train.jobs.phase import Phase
from app.versions.card import Card, EpochRecord, TrainingData
from app.webhooks.request import WebhookEvent


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


class JobPhase(BaseModel):
    """What the process of a running job does. `drawing` counts pictures."""

    name: Phase
    done: int | None = None
    total: int | None = None


class Progress(BaseModel):
    epoch: int
    epochs: int
    batch: int
    batches: int
    fraction: float
    eta: float = Field(description="remaining seconds, at the speed so far")


class ResultBaseline(BaseModel):
    """The version that was live when a job ended, on the same test images."""

    version: int
    test_accuracy: float
    recipe: str | None


class Result(BaseModel):
    version: int
    test_accuracy: float
    promoted: bool
    cause: Literal["first", "always", "never", "better", "worse", "chance"] | None = Field(
        None, description="what decided whether the version went live; null in older releases"
    )
    baseline: ResultBaseline | None = Field(
        None, description="the live version that it was compared with"
    )
    reason: str = Field(description="the figures of the comparison with the live version")
    explanation: str | None = Field(
        None, description="why the version went live or not; null for jobs of older releases"
    )
    stopped_by: Literal["early_stopping", "max_seconds"] | None = Field(
        None, description="what ended the training before its last epoch"
    )
    best_epoch: int | None = Field(
        None, description="epoch of the version's weights, if `early_stopping` chose it"
    )
    next: list[NextAction] = Field([], description="what could be done when the job ended")


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
    phase: JobPhase | None = Field(None, description="what a running job does; else null")
    data: TrainingData | None = Field(
        None, description="its data sets, fixed when it first starts; null until then"
    )
    progress: Progress | None
    epochs: list[EpochRecord]
    result: Result | None
    error: JobError | None
    sweep: str | None = Field(None, description="id of the sweep that the job belongs to")
    webhook: Webhook | None = Field(None, description="the webhook of the request")
    deliveries: list[Delivery] = Field(
        default_factory=list, description="messages about the job, also to `MYNET_WEBHOOK_URL`"
    )


class Jobs(BaseModel):
    data: list[Job]
    has_more: bool


class StatusTold(TypedDict):
    """The new status of a job, with the number of a new attempt, or with an error or a reason."""

    status: Status
    attempt: NotRequired[int]
    error: NotRequired[JobError]
    reason: NotRequired[str]


class PhaseData(TypedDict):
    """What the process does from now on, and how much of it is done."""

    name: Phase
    done: NotRequired[int]
    total: NotRequired[int]


class BatchTold(TypedDict):
    """The loss of a batch; `batch` counts from 1 in each epoch."""

    epoch: int
    batch: int
    loss: float


class Streamed(BaseModel):
    """A server-sent event."""

    id: str = Field(pattern="^[0-9]+$", description="counts up, over all jobs")
    event: Literal["status", "phase", "batch", "epoch", "result", "webhook"]
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


class PhaseEvent(JobEvent):
    event: Literal["phase"] = Field(validation_alias="kind")
    data: PhaseData


class BatchEvent(JobEvent):
    event: Literal["batch"] = Field(validation_alias="kind")
    data: BatchTold


class EpochEvent(JobEvent):
    event: Literal["epoch"] = Field(validation_alias="kind")
    data: EpochRecord


class ResultEvent(JobEvent):
    event: Literal["result"] = Field(validation_alias="kind")
    data: Result


class WebhookData(TypedDict):
    """A message that is not sent any more: its id and event, and why the last attempt failed."""

    id: str
    event: WebhookEvent
    attempts: int
    error: str


class WebhookFailureEvent(JobEvent):
    event: Literal["webhook"] = Field(validation_alias="kind")
    data: WebhookData


Event = Annotated[
    StatusEvent | PhaseEvent | BatchEvent | EpochEvent | ResultEvent | WebhookFailureEvent,
    Field(discriminator="event"),
]


class Events(BaseModel):
    data: list[Event]
    has_more: bool


class VersionSummary(BaseModel):
    """A version without the figures of its card. `GET /models/{version}` returns the card."""

    model_config = ConfigDict(from_attributes=True)

    version: int
    origin: Literal["trained", "checkpoint", "uploaded"]
    created_at: datetime
    recipe: str | None
    test_accuracy: float
    test_accuracy_interval: tuple[float, float]
    job: str | None
    parent: int | None
    note: str | None
    data: TrainingData | None
    weights_digest: str


class Versions(BaseModel):
    """All versions, and the number of the live one. `full` lists cards instead of summaries."""

    data: list[VersionSummary] | list[Card]
    current: int | None
    previous: int | None = Field(
        None, description="the version that `POST /models/rollback` would make live"
    )


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
