"""Requests of the API as plain data: what to send, and how to parse the response.

Both clients send these. The docstrings are those of the clients' methods.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Final, Generic, Literal, NotRequired, TypedDict, TypeVar, Unpack
from urllib.parse import quote
from uuid import uuid4

from httpx2 import Response

from mynet_client.answers import (
    Card,
    Cards,
    Checkpoints,
    DryRun,
    Job,
    Jobs,
    Models,
    Prediction,
    Predictions,
    Reading,
    Ready,
    ResponseModel,
)
from mynet_client.dataset_answers import Correction, Corrections

T = TypeVar("T")
AnswerT = TypeVar("AnswerT", bound=ResponseModel)
File = bytes | str | PathLike[str]
"""The bytes of a file, or its path."""
Format = Literal["safetensors", "pt", "onnx"]
IDEMPOTENT: Final = frozenset({"GET", "PUT", "DELETE"})
BINARY: Final = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True)
class Request(Generic[T]):
    """One request. `body` has `json`, `content` or `files`, the arguments of httpx2.

    `repeatable` means that sending it twice has the same effect as sending it once.
    """

    method: str
    path: str
    read: Callable[[Response], T]
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    repeatable: bool = False

    @property
    def may_be_repeated(self) -> bool:
        return self.repeatable or self.method in IDEMPOTENT

    @property
    def request(self) -> dict[str, Any]:
        """Return the arguments of `build_request`, without those that are None."""
        params = {name: value for name, value in self.params.items() if value is not None}
        return {
            "method": self.method,
            "url": self.path,
            "params": params or None,
            "headers": self.headers,
            **self.body,
        }


class EarlyStopping(TypedDict, total=False):
    """When a training ends before its last epoch; the service has a default for each."""

    patience: int  # plain-words: ok
    min_delta: float


class Init(TypedDict, total=False):
    """The weights that a training begins with: a version, or a job and an epoch."""

    version: int
    job: str
    epoch: int


class Webhook(TypedDict):
    """Where to send the end of a job; `events` are all by default."""

    url: str
    events: NotRequired[list[str]]


class Hyperparameters(TypedDict, total=False):
    """The hyperparameters of a job, and its webhook; the service has a default for each."""

    recipe: str | None
    epochs: int | None
    batch_size: int | None
    learning_rate: float | None
    momentum: float | None
    seed: int | None
    promote: str | None
    device: str | None
    include_feedback: bool | None
    init: Init | None
    keep_checkpoints: bool | None
    validation_fraction: float | None
    early_stopping: EarlyStopping | None
    max_seconds: float | None
    datasets: list[str] | None
    test_dataset: str | None
    note: str | None
    webhook: Webhook | None


def predict(
    image: File, *, version: int | None = None, explain: bool = False
) -> Request[Prediction]:
    """Read one digit. `version` is the live one by default; `explain` adds the network's input.

    Raises OSError if `image` is a path that cannot be read.
    """
    params = {"version": version, "explain": True if explain else None}
    body = {"content": _bytes(image)}
    return Request("POST", "/predict", answer_of(Prediction), params, BINARY, body, repeatable=True)


def predict_batch(images: Iterable[File], *, version: int | None = None) -> Request[Predictions]:
    """Read many digits with one version; each element is a Prediction or a Problem."""
    body = {"files": [("files", (str(at), _bytes(image))) for at, image in enumerate(images)]}
    params = {"version": version}
    return Request(
        "POST", "/predict/batch", answer_of(Predictions), params, body=body, repeatable=True
    )


def read(image: File, *, version: int | None = None) -> Request[Reading]:
    """Read all digits of an image, line by line. `version` is the live one by default.

    Raises OSError if `image` is a path that cannot be read.
    """
    body, params = {"content": _bytes(image)}, {"version": version}
    return Request("POST", "/read", answer_of(Reading), params, BINARY, body, repeatable=True)


def train(
    *, idempotency_key: str | None = None, **hyperparameters: Unpack[Hyperparameters]
) -> Request[Job]:
    """Queue a training job; the default hyperparameters are the tutorial's.

    Without an idempotency key, a random one is sent, so that a retried request creates one job.
    """
    headers = {"Idempotency-Key": idempotency_key or uuid4().hex}
    body = {"json": _set(hyperparameters)}
    return Request("POST", "/train", answer_of(Job), headers=headers, body=body, repeatable=True)


def dry_run(**hyperparameters: Unpack[Hyperparameters]) -> Request[DryRun]:
    """Return what a training job would do: images, steps, jobs ahead, seconds. Queue nothing."""
    body = {"json": {**_set(hyperparameters), "dry_run": True}}
    return Request("POST", "/train", answer_of(DryRun), body=body, repeatable=True)


def job(job: Job | str) -> Request[Job]:
    """Get a job."""
    return Request("GET", _path(job), answer_of(Job))


def jobs(
    *, status: str | None = None, after: Job | str | None = None, limit: int = 100
) -> Request[Jobs]:
    """List jobs, newest first; `after` is the last job of the previous page."""
    params = {"status": status, "after": _id(after) if after else None, "limit": limit}
    return Request("GET", "/train", answer_of(Jobs), params)


def cancel(job: Job | str) -> Request[Job]:
    """Cancel a job; it ends without a version."""
    return Request("POST", _path(job, "/cancel"), answer_of(Job))


def pause(job: Job | str) -> Request[Job]:
    """Pause a running job, which saves its state."""
    return Request("POST", _path(job, "/pause"), answer_of(Job))


def resume(job: Job | str) -> Request[Job]:
    """Queue a paused job again; it resumes from its saved state."""
    return Request("POST", _path(job, "/resume"), answer_of(Job))


def delete_job(job: Job | str) -> Request[None]:
    """Delete a final job with its events. Its version stays."""
    return Request("DELETE", _path(job), lambda _: None)


def checkpoints(job: Job | str) -> Request[Checkpoints]:
    """List the checkpoints of a job: the weights of its epochs."""
    return Request("GET", _path(job, "/checkpoints"), answer_of(Checkpoints))


def store_checkpoint(job: Job | str, epoch: int) -> Request[Card]:
    """Make the weights of an epoch a version, which does not go live."""
    path = _path(job, f"/checkpoints/{epoch}")
    return Request("POST", path, answer_of(Card), repeatable=True)


def log(job: Job | str) -> Request[list[str]]:
    """Return the lines of the log so far, in the tutorial's format."""
    return Request("GET", _path(job, "/log"), lambda response: response.text.splitlines())


def feedback(
    image: File, label: int | None, *, prediction_id: str | None = None, replace: bool = False
) -> Request[Correction]:
    """Store a correction: an image and its correct label. `replace` changes an existing label.

    The label is the digit that the image shows, or None if it shows no digit.

    Raises OSError if `image` is a path that cannot be read.
    """
    what = {"is_digit": "false"} if label is None else {"label": str(label)}
    data = {**what, "prediction_id": prediction_id or ""}
    body = {"files": {"file": ("image", _bytes(image))}, "data": data}
    params = {"replace": True if replace else None}
    return Request("POST", "/feedback", answer_of(Correction), params, body=body, repeatable=True)


def corrections(*, after: Correction | str | None = None, limit: int = 100) -> Request[Corrections]:
    """List corrections, newest first; `after` is the last correction of the previous page."""
    last = after.id if isinstance(after, Correction) else after
    return Request("GET", "/feedback", answer_of(Corrections), {"after": last, "limit": limit})


def corrected_image(correction: Correction | str) -> Request[bytes]:
    """Return the image of a correction, a PNG."""
    path = _correction_path(correction, "/image")
    return Request("GET", path, lambda response: response.content)


def delete_correction(correction: Correction | str) -> Request[None]:
    """Delete a correction."""
    return Request("DELETE", _correction_path(correction), lambda _: None)


def models() -> Request[Models]:
    """Return the versions, oldest first, and the number of the live version."""
    return Request("GET", "/models", answer_of(Models))


def cards() -> Request[Cards]:
    """Return the cards of all versions, oldest first, and the number of the live version."""
    return Request("GET", "/models", answer_of(Cards), {"full": True})


def model(version: int) -> Request[Card]:
    """Return the card of a version."""
    return Request("GET", f"/models/{version}", answer_of(Card))


def promote(version: int) -> Request[Card]:
    """Make a version live."""
    return Request("PUT", "/models/current", answer_of(Card), body={"json": {"version": version}})


def rollback() -> Request[Card]:
    """Roll back to the previous live version; each call goes back one more step."""
    return Request("POST", "/models/rollback", answer_of(Card))


def delete(version: int) -> Request[None]:
    """Delete a version that is not live. Its number is never reused."""
    return Request("DELETE", f"/models/{version}", lambda _: None)


def upload(weights: File, *, note: str | None = None) -> Request[Card]:
    """Upload a `.safetensors` file or a state dict as a new version, which does not go live.

    Raises OSError if `weights` is a path that cannot be read.
    """
    body = {"content": _bytes(weights)}
    return Request("POST", "/models", answer_of(Card), {"note": note}, BINARY, body)


def weights(version: int, *, format: Format = "safetensors") -> Request[bytes]:
    """Return the weights of a version as the bytes of a file."""
    path = f"/models/{version}/weights"
    return Request("GET", path, lambda response: response.content, {"format": format})


def ready() -> Request[Ready]:
    """Return the readiness. Raises ApiError if the service is not ready after all attempts."""
    return Request("GET", "/health/ready", answer_of(Ready))


def events(job: Job | str, after: int) -> Request[Response]:
    """Open the stream of a job's events after the given one."""
    headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
    return Request("GET", _path(job, "/events"), lambda response: response, headers=headers)


def answer_of(answer: type[AnswerT]) -> Callable[[Response], AnswerT]:
    return lambda response: answer.model_validate_json(response.content)


def _set(hyperparameters: Hyperparameters) -> dict[str, Any]:
    return {name: value for name, value in hyperparameters.items() if value is not None}


def _bytes(file: File) -> bytes:
    return file if isinstance(file, bytes) else Path(file).read_bytes()


def _id(job: Job | str) -> str:
    return job.id if isinstance(job, Job) else job


def _path(job: Job | str, action: str = "") -> str:
    return f"/train/{quote(_id(job), safe='')}{action}"


def _correction_path(correction: Correction | str, action: str = "") -> str:
    correction_id = correction.id if isinstance(correction, Correction) else correction
    return f"/feedback/{quote(correction_id, safe='')}{action}"
