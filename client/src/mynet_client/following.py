"""Event stream of a job that survives broken connections (server-sent events).

Each event is delivered once.
"""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from httpx2 import (
    EventSource,
    NetworkError,
    RemoteProtocolError,
    Response,
    ServerSentEvent,
    SSEError,
    TimeoutException,
)

from mynet_client import calls
from mynet_client.answers import Event, Job
from mynet_client.calls import Request
from mynet_client.errors import ConnectionFailed, readable

NO_CONTENT: Final = 204
LASTING: Final = 5.0  # seconds after which a connection without events counts as healthy
PAUSE: Final = 1.0


class EventSubscription:
    """The state of a subscription: the last event received, and connections without events."""

    def __init__(self, job: Job | str, after: int, attempts: int) -> None:
        self.is_over = False
        self._job, self._last, self._attempts = job, after, attempts
        self._empty_connections = 0

    @property
    def call(self) -> Request[Response]:
        return calls.events(self._job, self._last)

    @property
    def pause(self) -> float:
        """The seconds to wait before the next connection."""
        return PAUSE if self._empty_connections and not self.is_over else 0.0

    @contextmanager
    def connection(self, response: Response) -> Iterator[EventSource]:
        """Handle the end of a connection, normal or not.

        Raises ConnectionFailed if several connections in a row deliver no event.
        """
        self.is_over = response.status_code == NO_CONTENT  # all events were received before
        before, opened = self._last, time.monotonic()
        try:
            yield EventSource(response)
        except (NetworkError, RemoteProtocolError, TimeoutException) as error:
            reason = str(error) or type(error).__name__
        except SSEError:
            if not self.is_over:
                raise
            return
        else:
            reason = "the connection was closed"
        was_good = self._last > before or time.monotonic() - opened > LASTING
        self._empty_connections = 0 if was_good else self._empty_connections + 1
        if self._empty_connections >= self._attempts and not self.is_over:
            raise ConnectionFailed(
                f"The event stream delivered no events in {self._attempts} attempts: {reason}."
            )

    def take(self, sse: ServerSentEvent) -> Event:
        """Return the event, and remember that it was received. Raises MyNetError.

        A message without data is no event: a service that shuts down sends only a retry delay.
        """
        with readable():
            event = Event(id=int(sse.id), event=sse.event, data=json.loads(sse.data))
        self._last, self.is_over = event.id, event.is_final
        return event
