"""Domain exceptions of the service: one class for each problem code and HTTP status.

The app raises them, and `app.api.problem_details` turns them into RFC 9457 problem details. No HTTP
library is imported here; `status` is the number that the contract fixes.

The steps of a prediction, and the errors that each can raise::

    upload      MalformedRequest  BodyTooLarge  InvalidField  ContentEncodingNotSupported
    decode      NotAnImage  ImageTooLarge
    normalise   BlankImage
    batch       QueueFull  DeadlineExceeded  ClientDisconnected
    MyNet       NotReady

The same for a training job or a version::

    request     InvalidField  QueueFull  TrainingUnavailable
    upload      MalformedRequest  InvalidField  NotReady
    look-up     NotFound
    transition  Conflict

The same for the connection and the client::

    connection  MalformedRequest  RequestTimeout  NotReady
                HttpVersionNotSupported  TransferEncodingNotSupported
    host        Misdirected
    key         Unauthenticated  Forbidden
    rate        RateLimited
"""

from typing import Any, ClassVar, NamedTuple, TypeVar

R = TypeVar("R", bound="ServiceError")


class FieldError(NamedTuple):
    """One rejected field: its name as the client wrote it, and which values are valid."""

    field: str
    message: str


class ServiceError(Exception):
    """An error that the client gets as problem details.

    `detail` names the problem and the remedy; `retry_after` is in seconds. The first line of each
    subclass docstring is also the description of the error in the OpenAPI document.
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
        """Return the sentence that describes this error in the OpenAPI document."""
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
    """Return the error without its traceback, cause and context.

    Their frames hold uploads and decoded images for as long as the error lives. If one of those
    frames also holds the error, all of it stays in memory until the garbage collector runs. No log
    prints this traceback: the client gets the detail of the error.
    """
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)


class MalformedRequest(ServiceError):
    """The request could not be parsed: invalid JSON, or an invalid or incomplete form."""

    status, code, title = 400, "malformed_request", "The request cannot be read"


class Unauthenticated(ServiceError):
    """The request has no API key, or the key is not valid."""

    status, code, title = 401, "unauthenticated", "A key is required"


class Forbidden(ServiceError):
    """The API key lacks the scope that this request requires."""

    status, code, title = 403, "forbidden", "The key does not allow this"


class NotFound(ServiceError):
    """The job, sweep, version or correction does not exist."""

    status, code, title = 404, "not_found", "There is no such thing"


class RequestTimeout(ServiceError):
    """The rest of the request did not arrive in time."""

    status, code, title = 408, "request_timeout", "The request did not come in time"


class Conflict(ServiceError):
    """The current state does not allow the request, or another request changed it."""

    status, code, title = 409, "conflict", "The present state does not allow this"


class BodyTooLarge(ServiceError):
    """The body is larger than the service accepts."""

    status, code, title = 413, "body_too_large", "The body is too large"


class ImageTooLarge(ServiceError):
    """The image has more pixels than the service accepts."""

    status, code, title = 413, "image_too_large", "The image has too many pixels"


class NotAnImage(ServiceError):
    """No decoder can read the upload, or the upload is truncated."""

    status, code, title = 415, "not_an_image", "The upload is not an image"


class ContentEncodingNotSupported(ServiceError):
    """The body has a content encoding that the service cannot decode; see `Accept-Encoding`."""

    status, code = 415, "content_encoding_not_supported"
    title = "The content encoding is not supported"
    supported: ClassVar[tuple[str, ...]] = ("gzip", "deflate", "br")


class Misdirected(ServiceError):
    """An open service on a loopback address does not answer for this host name."""

    status, code, title = 421, "misdirected", "The request is for another host"


class InvalidField(ServiceError):
    """A value is not valid; `errors` names each field and its problem."""

    status, code, title = 422, "invalid_field", "A field is not valid"


class BlankImage(ServiceError):
    """The image contains no ink."""

    status, code, title = 422, "blank_image", "There is no ink in the image"


class TooManyDigits(ServiceError):
    """The image has more pieces of ink than one request may read."""

    status, code, title = 422, "too_many_digits", "There are too many digits in the image"


class QueueFull(ServiceError):
    """The queue is full; `Retry-After` says when to try again."""

    status, code, title = 429, "busy", "The queue is full"


class RateLimited(ServiceError):
    """The key or the address exceeded its rate limit; `Retry-After` says when to try again."""

    status, code, title = 429, "rate_limited", "Too many requests"


class NotReady(ServiceError):
    """The service is starting or draining, or its disk or database is unavailable."""

    status, code, title = 503, "not_ready", "The service is not ready"


class TrainingUnavailable(ServiceError):
    """This service cannot train, and no other service on its database does."""

    status, code, title = 503, "training_unavailable", "No service trains"


class ClientDisconnected(ServiceError):
    """The client disconnected; logs and metrics count this with 499, the status of nginx."""

    status, code, title = 499, "client_gone", "The client hung up"


class DeadlineExceeded(ServiceError):
    """The prediction was not finished within its time-out."""

    status, code, title = 504, "deadline_exceeded", "The answer took too long"


class TransferEncodingNotSupported(ServiceError):
    """The body has a transfer encoding other than chunked; the connection closes."""

    status, code = 501, "transfer_encoding_not_supported"
    title = "The transfer encoding is not supported"


class HttpVersionNotSupported(ServiceError):
    """The request is not in HTTP/1.1 or HTTP/1.0; the connection closes."""

    status, code = 505, "http_version_not_supported"
    title = "The HTTP version is not supported"


class InternalError(ServiceError):
    """An unexpected error occurred; the server's log has the details under this request id."""

    status, code, title = 500, "internal_error", "Internal error"
