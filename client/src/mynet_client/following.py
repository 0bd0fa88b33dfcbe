"""A job's events over as many connections as it takes.

What enters: server-sent events, and connections that break. What leaves: events, each once, and
where to go on. This module does not know how connections are made.
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
LASTING: Final = 5.0  # seconds for which a connection without events was a good one
PAUSE: Final = 1.0


class EventSubscription:
    """What has been seen of a job's events."""

    def __init__(self, job: Job | str, after: int, attempts: int) -> None:
        self.is_over = False
        self._job, self._last, self._attempts = job, after, attempts
        self._empty_connections = 0

    @property
    def call(self) -> Request[Response]:
        return calls.events(self._job, self._last)

    @property
    def pause(self) -> float:
        """Seconds to wait before the next connection."""
        return PAUSE if self._empty_connections and not self.is_over else 0.0

    @contextmanager
    def connection(self, response: Response) -> Iterator[EventSource]:
        """Pass over the end of a connection, good or bad.

        Raises ConnectionFailed where one after the other brings nothing.
        """
        self.is_over = response.status_code == NO_CONTENT  # all was seen before
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
            reason = "it ends"
        was_good = self._last > before or time.monotonic() - opened > LASTING
        self._empty_connections = 0 if was_good else self._empty_connections + 1
        if self._empty_connections >= self._attempts and not self.is_over:
            raise ConnectionFailed(f"The stream of events brings nothing: {reason}")

    def take(self, sse: ServerSentEvent) -> Event:
        """Return the event that was told, and note that it was seen. Raises MyNetError.

        Without data it is none: a service that ends says but when to come again.
        """
        with readable():
            event = Event(id=int(sse.id), event=sse.event, data=json.loads(sse.data))
        self._last, self.is_over = event.id, event.is_final
        return event
