"""What the service answers, typed.

What enters: the contract's JSON. What leaves: frozen models. Fields that a newer service adds are
passed over, and words that it may add (a status, the kind of an event) are plain strings. This
module does not know how answers travel.
"""

from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, field_validator

FINAL: Final = frozenset({"succeeded", "failed", "cancelled"})


class ResponseModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class FieldError(ResponseModel):
    """One field that was refused, and what would be right."""

    field: str
    message: str


class Problem(ResponseModel):
    """Why something was refused (RFC 9457); `code` is what programs can rely on."""

    title: str
    status: int
    detail: str
    code: str
    request_id: str = ""
    errors: list[FieldError] = []


class Normalisation(ResponseModel):
    """What was done to the upload; `box` is in its pixels, `shift` in those of the 28×28 image."""

    inverted: bool
    box: tuple[int, int, int, int]
    shift: tuple[float, float]


class Prediction(ResponseModel):
    """`seen`, `saliency` (PNG data URLs) and `normalisation` are there with `explain`."""

    id: str
    digit: int
    confidence: float
    probabilities: list[float]
    is_digit: bool
    version: int
    seen: str | None = None  # plain-words: ok
    saliency: str | None = None
    normalisation: Normalisation | None = None


class Predictions(ResponseModel):
    """One element for each image, in the order sent: one bad image never spoils the others."""

    predictions: list[Prediction | Problem]
    version: int

    @field_validator("predictions", mode="before")
    @classmethod
    def _unwrapped(cls, results: Any) -> Any:
        return [
            result.get("error", result) if isinstance(result, dict) else result
            for result in results
        ]


class Progress(ResponseModel):
    """`epoch` counts from 0; `eta` is in seconds."""

    epoch: int
    epochs: int
    batch: int
    batches: int
    fraction: float
    eta: float


class Epoch(ResponseModel):
    """One epoch as it ended; losses are mean cross-entropy."""

    epoch: int
    train_loss: float
    test_loss: float
    test_accuracy: float
    seconds: float


class Result(ResponseModel):
    version: int
    test_accuracy: float
    promoted: bool
    reason: str


class JobError(ResponseModel):
    code: str
    message: str


class Job(ResponseModel):
    """A training job: queued, running, paused, succeeded, failed or cancelled."""

    id: str
    status: str
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    hyperparameters: dict[str, Any]
    attempt: int
    progress: Progress | None = None
    epochs: list[Epoch] = []
    result: Result | None = None
    error: JobError | None = None
    sweep: str | None = None

    @property
    def is_final(self) -> bool:
        return self.status in FINAL


class Jobs(ResponseModel):
    """A page of jobs, newest first."""

    data: list[Job]
    has_more: bool


class SweepJob(ResponseModel):
    """A job of a sweep, in short; `hyperparameters` are those that differ between the jobs."""

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


class Event(ResponseModel):
    """Something that happened to a job: `status`, `batch`, `epoch` or `result`, and its data."""

    id: int
    event: str
    data: dict[str, Any]

    @property
    def is_final(self) -> bool:
        return self.event == "status" and self.data.get("status") in FINAL


class Card(ResponseModel):
    """What is known about a version: its metrics, and all that is needed to make it again."""

    version: int
    origin: str
    created_at: datetime
    test_accuracy: float
    test_accuracy_interval: tuple[float, float]
    test_loss: float
    calibration_error: float | None = None
    confusion: list[list[int]]
    precision: list[float]
    recall: list[float]
    energy_threshold: float
    temperature: float = 1.0
    recipe: str | None = None
    hyperparameters: dict[str, Any] | None = None
    epochs: list[Epoch] = []
    seconds: float | None = None
    job: str | None = None
    parent: int | None = None
    note: str | None = None
    elsewhere: dict[str, float] = {}  # plain-words: ok
    feedback: int | None = None
    data_digest: str
    weights_digest: str
    device: str | None = None
    threads: int | None = None
    torch_version: str
    code_version: str


class Correction(ResponseModel):
    """An image that somebody corrected, and the digit that it shows."""

    id: str
    label: int
    prediction_id: str | None = None
    created_at: datetime


class Corrections(ResponseModel):
    """A page of corrections, newest first."""

    data: list[Correction]
    has_more: bool


class Models(ResponseModel):
    """All versions, oldest first, and which one is live."""

    data: list[Card]
    current: int | None


class Ready(ResponseModel):
    """The service can be asked; `images` counts what became of those it was sent."""

    version: int
    device: str
    images: dict[str, int] = {}
