"""Retry policy: a request is sent again if the service is busy, not ready, or disconnected.

The wait is random between zero and a bound that doubles from a quarter of a second to ten seconds.
`Retry-After` takes precedence, unless it is more than a minute.
"""

from random import uniform
from typing import Any, Final, TypedDict

from httpx2 import ConnectError, ConnectTimeout, NetworkError, RemoteProtocolError
from tenacity import (
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_random_exponential,
)
from tenacity.stop import stop_base
from tenacity.wait import wait_base

from mynet_client.calls import Request
from mynet_client.errors import ApiError

RETRYABLE_STATUSES: Final = frozenset({429, 503})  # the service did nothing
NEVER_SENT: Final = (ConnectError, ConnectTimeout)
BROKEN: Final = (*NEVER_SENT, NetworkError, RemoteProtocolError)
MAX_WAIT_SECONDS: Final = 60.0
BACK_OFF: Final = wait_random_exponential(multiplier=0.25, max=10)


class Policy(TypedDict):
    """The arguments of tenacity's `Retrying` and `AsyncRetrying`."""

    retry: retry_if_exception
    wait: wait_base
    stop: stop_base
    reraise: bool


def policy(call: Request[Any], attempts: int) -> Policy:
    """Return the retry policy of `call`, with at most `attempts` attempts."""
    return Policy(
        retry=retry_if_exception(lambda error: _is_retryable(call, error)),
        wait=_Wait(),
        stop=stop_after_attempt(attempts),
        reraise=True,
    )


def _is_retryable(call: Request[Any], error: BaseException) -> bool:
    if isinstance(error, ApiError):
        return error.status in RETRYABLE_STATUSES and (error.retry_after or 0.0) <= MAX_WAIT_SECONDS
    return isinstance(error, BROKEN if call.may_be_repeated else NEVER_SENT)


class _Wait(wait_base):
    def __call__(self, retry_state: RetryCallState) -> float:
        error = retry_state.outcome.exception() if retry_state.outcome else None
        if isinstance(error, ApiError) and error.retry_after is not None:
            # Spreads clients that were rejected at the same time.
            return error.retry_after * uniform(1.0, 1.1)
        return BACK_OFF(retry_state)
