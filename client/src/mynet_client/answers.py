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


class LayerActivations(ResponseModel):
    """The activations of a hidden layer by unit, from 0 to 255, which stands for `maximum`."""

    layer: str
    maximum: float
    values: list[int]


class Prediction(ResponseModel):
    """A prediction; `explain` adds the fields from `seen`, a PNG data URL, on."""

    id: str
    digit: int
    confidence: float
    probabilities: list[float]
    is_digit: bool
    # Older services send neither.
    reason: str | None = None
    count: int = 1
    version: int
    seen: str | None = None  # plain-words: ok
    saliency: str | None = None
    normalisation: Normalisation | None = None
    activations: list[LayerActivations] | None = None


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


class Phase(ResponseModel):
    """What a running job does, as `drawing`, and how much of it is done if that is counted."""

    name: str
    done: int | None = None
    total: int | None = None


class ReadDigit(ResponseModel):
    """One digit of a line; `box` is left, top, right and bottom in pixels of the upload."""

    digit: int
    confidence: float
    is_digit: bool
    box: tuple[int, int, int, int]


class TextLine(ResponseModel):
    """One line of digits, from left to right."""

    text: str
    digits: list[ReadDigit]


class Reading(ResponseModel):
    """All digits of an image: `text` has a line of text for each line, from top to bottom."""

    id: str
    text: str
    lines: list[TextLine]
    version: int


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
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    seconds: float


class Checkpoint(Epoch):
    """The weights of a job after an epoch; `bytes` is the size of their file."""

    bytes: int


class Checkpoints(ResponseModel):
    """The checkpoints of a job that exist, by epoch."""

    data: list[Checkpoint]


class NextAction(ResponseModel):
    """A request that may be sent next, such as the promotion of a version."""

    action: str
    method: str
    path: str
    body: dict[str, Any] | None = None


class Result(ResponseModel):
    """The version of a job; `explanation` says why it went live or not, and `cause` as a code."""

    version: int
    test_accuracy: float
    promoted: bool
    reason: str
    cause: str | None = None  # older services send neither this nor what follows
    baseline: dict[str, Any] | None = None
    explanation: str | None = None
    stopped_by: str | None = None
    best_epoch: int | None = None
    next: list[NextAction] = []


class JobError(ResponseModel):
    code: str
    message: str


class DatasetReference(ResponseModel):
    """A data set as it was when a job first started."""

    id: str
    name: str
    digest: str
    images: int
    non_digits: int = 0  # how many of the images show no digit


class TrainingData(ResponseModel):
    """The data sets that a job trains with, and the one that it is tested on."""

    train: list[DatasetReference]
    test: DatasetReference


class JobWebhook(ResponseModel):
    """Where the end of a job is sent. The query of the URL is not shown."""

    url: str
    events: list[str]


class Delivery(ResponseModel):
    """A message about a job: pending, delivered or failed. `id` is its `webhook-id`."""

    id: str
    event: str
    url: str
    state: str
    attempts: int
    created_at: datetime
    next_attempt_at: datetime | None = None
    finished_at: datetime | None = None
    last_status: int | None = None
    last_error: str | None = None


class Job(ResponseModel):
    """A training job: queued, running, paused, succeeded, failed or cancelled."""

    id: str
    status: str
    created_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    hyperparameters: dict[str, Any]
    attempt: int
    phase: Phase | None = None
    data: TrainingData | None = None
    progress: Progress | None = None
    epochs: list[Epoch] = []
    result: Result | None = None
    error: JobError | None = None
    sweep: str | None = None
    webhook: JobWebhook | None = None
    deliveries: list[Delivery] = []

    @property
    def is_final(self) -> bool:
        return self.status in FINAL


class DryRun(ResponseModel):
    """What a job would do: nothing was queued; `images` are training images by digit."""

    hyperparameters: dict[str, Any]
    images: dict[str, int]
    non_digits: int = 0
    validation_images: int = 0
    steps: int
    jobs_ahead: int
    estimated_seconds: float | None = None


class Jobs(ResponseModel):
    """A page of jobs, newest first."""

    data: list[Job]
    has_more: bool


class Event(ResponseModel):
    """An event of a job and its data: `status`, `phase`, `batch`, `epoch`, `result`, `webhook`."""

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
    parent_checkpoint: dict[str, Any] | None = None
    checkpoint: int | None = None
    note: str | None = None
    elsewhere: dict[str, float] = {}  # plain-words: ok
    wrappers: list[str] = []
    feedback: int | None = None
    data: TrainingData | None = None
    data_digest: str
    weights_digest: str
    device: str | None = None
    threads: int | None = None
    torch_version: str
    code_version: str


class VersionSummary(ResponseModel):
    """A version without the figures of its card."""

    version: int
    origin: str
    created_at: datetime
    recipe: str | None = None
    test_accuracy: float
    test_accuracy_interval: tuple[float, float]
    job: str | None = None
    parent: int | None = None
    note: str | None = None
    data: TrainingData | None = None
    weights_digest: str


class Models(ResponseModel):
    """All versions, oldest first, and the number of the live version."""

    data: list[VersionSummary]
    current: int | None
    previous: int | None = None


class Cards(ResponseModel):
    """The cards of all versions, oldest first, and the number of the live version."""

    data: list[Card]
    current: int | None
    previous: int | None = None


class Retraining(ResponseModel):
    """How many corrections are new, and after how many a job starts by itself."""

    new: int
    after: int


class Ready(ResponseModel):
    """The service is ready; `images` counts the images that it processed, by outcome."""

    version: int
    device: str
    images: dict[str, int] = {}
    retraining: Retraining | None = None
