"""Every call of the contract, as plain data: what is sent, and how the answer is read.

What enters: arguments. What leaves: a `Call`. Both clients send these, so that nothing is said
twice. This module does not know how calls travel; the docstrings are those of the clients' methods.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Final, Generic, Literal, TypedDict, TypeVar, Unpack
from urllib.parse import quote
from uuid import uuid4

from httpx2 import Response

from mynet_client.answers import (
    Card,
    Correction,
    Corrections,
    Job,
    Jobs,
    Models,
    Prediction,
    Predictions,
    Ready,
    ResponseModel,
)

T = TypeVar("T")
AnswerT = TypeVar("AnswerT", bound=ResponseModel)
File = bytes | str | PathLike[str]
"""A file's bytes, or the path of one."""
Format = Literal["safetensors", "pt", "onnx"]
IDEMPOTENT: Final = frozenset({"GET", "PUT", "DELETE"})
BINARY: Final = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True)
class Request(Generic[T]):
    """One request. `body` is `json`, `content` or `files`, as httpx2 names them.

    `repeatable`: sent twice, it does what it does once.
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
        """The arguments of `build_request`; what was not given is not sent."""
        params = {name: value for name, value in self.params.items() if value is not None}
        return {
            "method": self.method,
            "url": self.path,
            "params": params or None,
            "headers": self.headers,
            **self.body,
        }


class Hyperparameters(TypedDict, total=False):
    """What may be asked of a training; the service has a default for each."""

    recipe: str | None
    epochs: int | None
    batch_size: int | None
    learning_rate: float | None
    momentum: float | None
    seed: int | None
    promote: str | None
    device: str | None
    include_feedback: bool | None
    note: str | None


def predict(
    image: File, *, version: int | None = None, explain: bool = False
) -> Request[Prediction]:
    """Read one digit, with `version` instead of the live one; `explain` adds what the network saw.

    Raises OSError where `image` is a path that cannot be read.
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


def train(
    *, idempotency_key: str | None = None, **hyperparameters: Unpack[Hyperparameters]
) -> Request[Job]:
    """Queue a training; without hyperparameters, the documented loop.

    The key is drawn where none is given, so that a call sent twice makes one job.
    """
    payload = {name: value for name, value in hyperparameters.items() if value is not None}
    headers = {"Idempotency-Key": idempotency_key or uuid4().hex}
    body = {"json": payload}
    return Request("POST", "/train", answer_of(Job), headers=headers, body=body, repeatable=True)


def job(job: Job | str) -> Request[Job]:
    """Get a job."""
    return Request("GET", _path(job), answer_of(Job))


def jobs(
    *, status: str | None = None, after: Job | str | None = None, limit: int = 100
) -> Request[Jobs]:
    """List jobs, newest first; `after` is the last one of the page before."""
    params = {"status": status, "after": _id(after) if after else None, "limit": limit}
    return Request("GET", "/train", answer_of(Jobs), params)


def cancel(job: Job | str) -> Request[Job]:
    """End a job without a version."""
    return Request("POST", _path(job, "/cancel"), answer_of(Job))


def pause(job: Job | str) -> Request[Job]:
    """Stop a running job with its state saved."""
    return Request("POST", _path(job, "/pause"), answer_of(Job))


def resume(job: Job | str) -> Request[Job]:
    """Queue a paused job again; it goes on where it was."""
    return Request("POST", _path(job, "/resume"), answer_of(Job))


def log(job: Job | str) -> Request[list[str]]:
    """Return the log's lines so far, in the tutorial's own words."""
    return Request("GET", _path(job, "/log"), lambda response: response.text.splitlines())


def feedback(
    image: File, label: int, *, prediction_id: str | None = None, replace: bool = False
) -> Request[Correction]:
    """Return which digit an image shows; `replace` where another was said of it before.

    Raises OSError where `image` is a path that cannot be read.
    """
    data = {"label": str(label), "prediction_id": prediction_id or ""}
    body = {"files": {"file": ("image", _bytes(image))}, "data": data}
    params = {"replace": True if replace else None}
    return Request("POST", "/feedback", answer_of(Correction), params, body=body, repeatable=True)


def corrections(*, after: Correction | str | None = None, limit: int = 100) -> Request[Corrections]:
    """List corrections, newest first; `after` is the last one of the page before."""
    last = after.id if isinstance(after, Correction) else after
    return Request("GET", "/feedback", answer_of(Corrections), {"after": last, "limit": limit})


def corrected_image(correction: Correction | str) -> Request[bytes]:
    """Return the image of a correction, a PNG."""
    path = _correction_path(correction, "/image")
    return Request("GET", path, lambda response: response.content)


def delete_correction(correction: Correction | str) -> Request[None]:
    """Forget a correction."""
    return Request("DELETE", _correction_path(correction), lambda _: None)


def models() -> Request[Models]:
    """List versions, oldest first, and say which one is live."""
    return Request("GET", "/models", answer_of(Models))


def model(version: int) -> Request[Card]:
    """Return a version's card."""
    return Request("GET", f"/models/{version}", answer_of(Card))


def promote(version: int) -> Request[Card]:
    """Go live with a version."""
    return Request("PUT", "/models/current", answer_of(Card), body={"json": {"version": version}})


def rollback() -> Request[Card]:
    """Go back to the version before; each call goes one step further."""
    return Request("POST", "/models/rollback", answer_of(Card))


def delete(version: int) -> Request[None]:
    """Remove a version that is not live. Its number is never given again."""
    return Request("DELETE", f"/models/{version}", lambda _: None)


def upload(weights: File, *, note: str | None = None) -> Request[Card]:
    """Make a version of a `.safetensors` file or a state dict; it does not go live.

    Raises OSError where `weights` is a path that cannot be read.
    """
    body = {"content": _bytes(weights)}
    return Request("POST", "/models", answer_of(Card), {"note": note}, BINARY, body)


def weights(version: int, *, format: Format = "safetensors") -> Request[bytes]:
    """Return a version's weights as a file's content."""
    path = f"/models/{version}/weights"
    return Request("GET", path, lambda response: response.content, {"format": format})


def ready() -> Request[Ready]:
    """Check that the service is ready. Raises ApiError if it is not after some attempts."""
    return Request("GET", "/health/ready", answer_of(Ready))


def events(job: Job | str, after: int) -> Request[Response]:
    """Open the stream of what happens to a job after that event."""
    headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
    return Request("GET", _path(job, "/events"), lambda response: response, headers=headers)


def answer_of(answer: type[AnswerT]) -> Callable[[Response], AnswerT]:
    return lambda response: answer.model_validate_json(response.content)


def _bytes(file: File) -> bytes:
    return file if isinstance(file, bytes) else Path(file).read_bytes()


def _id(job: Job | str) -> str:
    return job.id if isinstance(job, Job) else job


def _path(job: Job | str, action: str = "") -> str:
    return f"/train/{quote(_id(job), safe='')}{action}"


def _correction_path(correction: Correction | str, action: str = "") -> str:
    correction_id = correction.id if isinstance(correction, Correction) else correction
    return f"/feedback/{quote(correction_id, safe='')}{action}"
