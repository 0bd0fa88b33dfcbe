"""When a call is sent again: the service is busy, not ready, or the connection broke.

What enters: a call, and how it failed. What leaves: what tenacity wants to know. Waits are drawn
between nothing and a bound that doubles, from a quarter of a second to ten; `Retry-After` is waited
out, unless it asks for over a minute. This module does not know whether somebody waits.
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

RETRYABLE_STATUSES: Final = frozenset({429, 503})  # nothing was done
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
    """Return when `call` is sent again, `attempts` times at most."""
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
            return error.retry_after * uniform(1.0, 1.1)  # all who were refused shall not meet
        return BACK_OFF(retry_state)
