"""How long a connection may take: uvicorn's protocol, which lets go of who is too slow.

What enters: the events of a connection. What leaves: 408 and an end, where a request does not come;
an end, where an answer is not read; 503, where there are more connections than files may be open.
This module does not know how requests are parsed.

A sender of one byte a second costs a connection and some memory, and nobody any time; it is the
number of them that has to have an end. The same limits as in Apache's mod_reqtimeout: some seconds,
and a least rate from then on.
"""

import asyncio
import logging
import sys
from functools import lru_cache
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.errors import NotReady, RequestTimeout, ServiceError
from app.server.raw_response import serialize_error
from app.telemetry import logs

# Seconds; and bytes that have to come, or go, in each of them.
IDLE_TIMEOUT: Final = 20.0
MIN_BYTES: Final = 1024 * IDLE_TIMEOUT
# Files that stay for everything that is no connection.
RESERVED_FDS: Final = 256
log = logging.getLogger(__name__)


@lru_cache(1)
def max_connections() -> int:
    """Count the connections for which there are file descriptors, once as many as possible are had.

    The limit that a process starts with is often 1,024, for the sake of programs that use select().
    """
    if sys.platform == "win32":
        return sys.maxsize
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # macOS says that there is no limit, and allows fewer
            hard = soft
    return max(hard - RESERVED_FDS, hard // 2) if hard != resource.RLIM_INFINITY else sys.maxsize


class TimeoutProtocol(HttpToolsProtocol):
    """Waits for the rest of a request, and until an answer is read, but not for ever.

    A timer runs only while something is missing: most requests come in one piece.
    """

    transport: asyncio.Transport
    cycle: Any
    received = 0
    receiving = True
    in_head = False
    read_timer: asyncio.TimerHandle | None = None
    write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > max_connections():
            log.warning("%s is turned away: %d connections", self.client, len(self.connections))
            self.reject(NotReady("There are too many connections.", retry_after=1))
        else:
            self.start_read_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self.read_timer, self.write_timer):
            if timer is not None:
                timer.cancel()
        self.read_timer = self.write_timer = None  # each holds this object, as it holds them
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        self.receiving = self.in_head = True
        super().on_message_begin()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start_write_timer()

    def resume_writing(self) -> None:
        if self.write_timer is not None:
            self.write_timer.cancel()
        self.write_timer = None
        super().resume_writing()

    def start_read_timer(self) -> None:
        """Wait for the rest of a request that is coming."""
        if self.receiving and self.read_timer is None and not self.transport.is_closing():
            self.read_timer = self.loop.call_later(
                IDLE_TIMEOUT, self._on_read_timeout, self.received
            )

    def stop_read_timer(self) -> None:
        """The request is here whole."""
        self.receiving = False
        if self.read_timer is not None:
            self.read_timer.cancel()
            self.read_timer = None

    def reject(self, error: ServiceError) -> None:
        """Answer, unless an answer is on its way already, and end the connection."""
        request_id = logs.new_request_id()
        token = logs.request_id.set(request_id.decode())
        log.info("%s is answered %d: %s", self.client, error.status, error.detail)
        logs.request_id.reset(token)
        if not self._is_answered():
            headers = self.server_state.default_headers
            self.transport.write(serialize_error(error, request_id, headers))
        self.transport.close()

    def _is_answered(self) -> bool:
        """Return whether an answer to what comes, or to what came before it, has begun."""
        if self.cycle is None or not self.cycle.response_started:
            return False
        is_of_this_request = self.receiving and not self.in_head
        return is_of_this_request or not self.cycle.response_complete

    def _on_read_timeout(self, received_before: int) -> None:
        """Go on waiting where enough came, or where it is the app that takes its time."""
        self.read_timer, bytes_read = None, self.received - received_before
        answers_another = self.in_head and self.cycle and not self.cycle.response_complete
        if bytes_read >= MIN_BYTES or self.flow.read_paused or answers_another:
            self.start_read_timer()
            return
        if self.in_head or self.cycle:
            self.reject(
                RequestTimeout(f"Less than {MIN_BYTES:g} bytes came in {IDLE_TIMEOUT:g} s.")
            )
        else:
            log.info("%s says nothing", self.client)
            self.transport.close()

    def _start_write_timer(self) -> None:
        buffer_size = self.transport.get_write_buffer_size()
        self.write_timer = self.loop.call_later(IDLE_TIMEOUT, self._on_write_timeout, buffer_size)

    def _on_write_timeout(self, previous_size: int) -> None:
        buffer_size = self.transport.get_write_buffer_size()
        if previous_size - buffer_size >= MIN_BYTES:
            self._start_write_timer()
        else:
            log.info("%s does not read: %d bytes are left", self.client, buffer_size)
            self.transport.abort()
