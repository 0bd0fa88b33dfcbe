"""Every refusal of the service: one class, one code, one status.

What enters: the reason, in words for the person who called. What leaves: an exception that
`app.api.problem_details` turns into RFC 9457 problem details. This module knows nothing of HTTP
libraries; `status` is a number that the contract fixes.

The flow of a prediction, and the error that belongs to each step::

    upload      MalformedRequest  BodyTooLarge  InvalidField
    decode      NotAnImage  ImageTooLarge
    normalise   BlankImage
    batch       QueueFull  DeadlineExceeded  ClientDisconnected
    MyNet       NotReady

and of a training job or a version::

    request     InvalidField  QueueFull
    upload      MalformedRequest  InvalidField  NotReady
    look-up     NotFound
    transition  Conflict

and of whoever asks::

    connection  MalformedRequest  RequestTimeout  NotReady
    key         Unauthenticated  Forbidden
    rate        RateLimited
"""

from typing import Any, ClassVar, NamedTuple, TypeVar

R = TypeVar("R", bound="ServiceError")


class FieldError(NamedTuple):
    """One field that was refused: its name as the client wrote it, and what would be right."""

    field: str
    message: str


class ServiceError(Exception):
    """A request that the service understood and will not fulfil.

    `detail` says what was wrong and what would be right; `retry_after` is in seconds. The first
    line of each class says when it comes, to the readers of the OpenAPI document, too.
    """

    status: ClassVar[int]
    code: ClassVar[str]
    title: ClassVar[str]

    def __init__(
        self, detail: str, *, errors: list[FieldError] | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors or []
        self.retry_after = retry_after

    @classmethod
    def summary(cls) -> str:
        """Return the sentence that says when this error comes."""
        return (cls.__doc__ or cls.title).partition("\n")[0]

    def problem_details(self, request_id: str) -> dict[str, Any]:
        """Return the error as RFC 9457 problem details, with `code`, `request_id` and `errors`."""
        details = problem_details(self.status, self.code, self.title, self.detail, request_id)
        if self.errors:
            details["errors"] = [field_error._asdict() for field_error in self.errors]
        return details


def problem_details(
    status: int, code: str, title: str, detail: str, request_id: str
) -> dict[str, Any]:
    """Return an error as RFC 9457 problem details, with the members `code` and `request_id`."""
    return {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id,
    }


def drop_traceback(error: R) -> R:
    """Return the refusal without its traceback, its cause and its context.

    Their frames hold uploads and decoded images for as long as the refusal lives. If one of them,
    or of the frames that called them, holds the refusal in turn, all of it stays in memory until
    the garbage collector comes. No log prints the traceback: a refusal is answered in its words.
    """
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


class MalformedRequest(ServiceError):
    """The request cannot be read: its body is no JSON object, or its form was cut off."""

    status, code, title = 400, "malformed_request", "The request cannot be read"


class Unauthenticated(ServiceError):
    """A key is needed here, and none that is valid was sent."""

    status, code, title = 401, "unauthenticated", "A key is required"


class Forbidden(ServiceError):
    """The key lacks the scope that is needed here."""

    status, code, title = 403, "forbidden", "The key does not allow this"


class NotFound(ServiceError):
    """There is no such job, sweep, version or correction."""

    status, code, title = 404, "not_found", "There is no such thing"


class RequestTimeout(ServiceError):
    """The rest of the request did not come in time."""

    status, code, title = 408, "request_timeout", "The request did not come in time"


class Conflict(ServiceError):
    """What is asked does not fit the present state, or that was changed meanwhile."""

    status, code, title = 409, "conflict", "The present state does not allow this"


class BodyTooLarge(ServiceError):
    """The body is larger than this service takes."""

    status, code, title = 413, "body_too_large", "The body is too large"


class ImageTooLarge(ServiceError):
    """The image has more pixels than this service reads."""

    status, code, title = 413, "image_too_large", "The image has too many pixels"


class NotAnImage(ServiceError):
    """No decoder takes the upload, or it is cut off."""

    status, code, title = 415, "not_an_image", "The upload is not an image"


class InvalidField(ServiceError):
    """A value is not what it may be; `errors` names the field."""

    status, code, title = 422, "invalid_field", "A field is not valid"


class BlankImage(ServiceError):
    """There is no ink in the image."""

    status, code, title = 422, "blank_image", "There is no ink in the image"


class QueueFull(ServiceError):
    """As many wait as may wait; `Retry-After` says when to try again."""

    status, code, title = 429, "busy", "The queue is full"


class RateLimited(ServiceError):
    """The key, or the address, asked more often than it may; see `Retry-After`."""

    status, code, title = 429, "rate_limited", "Too many requests"


class NotReady(ServiceError):
    """The service is loading or draining, or its disk or database is away."""

    status, code, title = 503, "not_ready", "The service is not ready"


class ClientDisconnected(ServiceError):
    """Nobody reads this answer; logs and counts tell of it, with the status that nginx uses."""

    status, code, title = 499, "client_gone", "The client hung up"


class DeadlineExceeded(ServiceError):
    """There was no answer within the time that a prediction may take."""

    status, code, title = 504, "deadline_exceeded", "The answer took too long"


class InternalError(ServiceError):
    """This is a defect of the service. Its log tells more, under this request id."""

    status, code, title = 500, "internal_error", "Internal error"
