"""Exceptions of the client: API errors and connection errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

from httpx2 import RequestError, Response
from pydantic import ValidationError

from mynet_client.answers import FieldError, Problem

UNKNOWN: Final = "unknown"
MAX_DETAIL_LENGTH: Final = 500


class MyNetError(Exception):
    """Base class of all exceptions that a client raises."""


class ConnectionFailed(MyNetError):
    """The service did not respond: it is unreachable or too slow, or the connection broke."""


class ApiError(MyNetError):
    """The service rejected the request. `code` says why; `retry_after` is in seconds."""

    def __init__(self, problem: Problem, retry_after: float | None = None) -> None:
        super().__init__(problem.detail or problem.title)
        self.problem = problem
        self.retry_after = retry_after

    @property
    def code(self) -> str:
        """The error code, on which programs can rely; `unknown` if another server answered."""
        return self.problem.code

    @property
    def status(self) -> int:
        return self.problem.status

    @property
    def detail(self) -> str:
        return self.problem.detail

    @property
    def request_id(self) -> str:
        """The id under which the service's log has this request."""
        return self.problem.request_id

    @property
    def errors(self) -> list[FieldError]:
        """The rejected fields, if any."""
        return self.problem.errors


class NoBestVersion(MyNetError):
    """The sweep has not ended, or none of its jobs stored a version."""


def refusal(response: Response) -> ApiError:
    """Return the exception for a response that is not a success; its content has been read."""
    return ApiError(_problem(response), _retry_after(response.headers.get("retry-after", "")))


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise ConnectionFailed for connection errors of httpx2."""
    try:
        yield
    except RequestError as error:
        reason = str(error) or type(error).__name__
        raise ConnectionFailed(
            f"{error.request.url} does not answer: {reason}. "
            "Check the URL, and that the service is running."
        ) from error


@contextmanager
def readable() -> Iterator[None]:
    """Raise MyNetError if a response cannot be parsed."""
    try:
        yield
    except ValueError as error:
        raise MyNetError(
            f"The response does not come from MyNet: {error}. Check the URL."
        ) from error


def _problem(response: Response) -> Problem:
    try:
        return Problem.model_validate_json(response.content)
    except ValidationError:  # the response of a proxy, or of another service
        return Problem(
            title=response.reason_phrase,
            status=response.status_code,
            detail=response.text[:MAX_DETAIL_LENGTH],
            code=UNKNOWN,
            request_id=response.headers.get("x-request-id", ""),
        )


def _retry_after(value: str) -> float | None:
    """Return the seconds in a Retry-After header: a number or a date (RFC 9110, 10.2.3)."""
    if value.isdecimal():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
