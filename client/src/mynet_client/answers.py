"""Response models: frozen pydantic models of the service's JSON.

Unknown fields are ignored, because a newer service may add some. Values that may get new members
(the status of a job, the kind of an event) are plain strings.
"""

from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, field_validator

FINAL: Final = frozenset({"succeeded", "failed", "cancelled"})


class ResponseModel(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class FieldError(ResponseModel):
    """One rejected field, and which values are valid."""

    field: str
    message: str


class Problem(ResponseModel):
    """The details of an error (RFC 9457); programs can rely on `code`."""

    title: str
    status: int
    detail: str
    code: str
    request_id: str = ""
    errors: list[FieldError] = []


class Normalisation(ResponseModel):
    """How an upload was normalised: `box` in its pixels, `shift` in those of the 28×28 image."""

    inverted: bool
    box: tuple[int, int, int, int]
    shift: tuple[float, float]


class Prediction(ResponseModel):
    """A prediction; `explain` adds `seen`, `saliency` (PNG data URLs) and `normalisation`."""

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
    """One element for each image, in order. An invalid image does not affect the others."""

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
    """The progress of a job; `epoch` counts from 0, `eta` is in seconds."""

    epoch: int
    epochs: int
    batch: int
    batches: int
    fraction: float
    eta: float


class Epoch(ResponseModel):
    """The results of one epoch; losses are mean cross-entropy."""

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


class Event(ResponseModel):
    """An event of a job: `status`, `batch`, `epoch` or `result`, and its data."""

    id: int
    event: str
    data: dict[str, Any]

    @property
    def is_final(self) -> bool:
        return self.event == "status" and self.data.get("status") in FINAL


class Card(ResponseModel):
    """A version: its metrics, and everything needed to reproduce it."""

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
    """An image with its correct digit."""

    id: str
    label: int
    prediction_id: str | None = None
    created_at: datetime


class Corrections(ResponseModel):
    """A page of corrections, newest first."""

    data: list[Correction]
    has_more: bool


class Models(ResponseModel):
    """All versions, oldest first, and the number of the live version."""

    data: list[Card]
    current: int | None


class Ready(ResponseModel):
    """The service is ready; `images` counts the images that it processed, by outcome."""

    version: int
    device: str
    images: dict[str, int] = {}
