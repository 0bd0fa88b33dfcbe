"""What can go wrong: the service refuses, or it is not reached.

What enters: an answer that is no success, or an error of the connection. What leaves: an exception.
This module does not know what was asked.
"""

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
    """Whatever a client raises."""


class ConnectionFailed(MyNetError):
    """No answer came: the service is not there, is too slow, or the connection broke."""


class ApiError(MyNetError):
    """The service will not do what was asked. `code` says why; `retry_after` is in seconds."""

    def __init__(self, problem: Problem, retry_after: float | None = None) -> None:
        super().__init__(problem.detail or problem.title)
        self.problem = problem
        self.retry_after = retry_after

    @property
    def code(self) -> str:
        """What programs can rely on; `unknown` where something else than MyNet answered."""
        return self.problem.code

    @property
    def status(self) -> int:
        return self.problem.status

    @property
    def detail(self) -> str:
        return self.problem.detail

    @property
    def request_id(self) -> str:
        """What finds this request in the service's log."""
        return self.problem.request_id

    @property
    def errors(self) -> list[FieldError]:
        """The fields that were wrong, if that was it."""
        return self.problem.errors


def refusal(response: Response) -> ApiError:
    """Return what an answer that was read and is no success means."""
    return ApiError(_problem(response), _retry_after(response.headers.get("retry-after", "")))


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raise ConnectionFailed for errors of the connection."""
    try:
        yield
    except RequestError as error:
        reason = str(error) or type(error).__name__
        raise ConnectionFailed(f"{error.request.url} does not answer: {reason}") from error


@contextmanager
def readable() -> Iterator[None]:
    """Raise MyNetError for what cannot be read."""
    try:
        yield
    except ValueError as error:
        raise MyNetError(f"This is not what MyNet answers: {error}") from error


def _problem(response: Response) -> Problem:
    try:
        return Problem.model_validate_json(response.content)
    except ValidationError:  # a proxy's, or another service's
        return Problem(
            title=response.reason_phrase,
            status=response.status_code,
            detail=response.text[:MAX_DETAIL_LENGTH],
            code=UNKNOWN,
            request_id=response.headers.get("x-request-id", ""),
        )


def _retry_after(value: str) -> float | None:
    """Read seconds or a date (RFC 9110, 10.2.3)."""
    if value.isdecimal():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (until.replace(tzinfo=until.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
