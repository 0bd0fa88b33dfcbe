"""Read and write time-outs for slow clients, and a connection limit, on uvicorn's HTTP protocol.

A request that arrives too slowly gets `408`, a connection over the limit gets `503`, and a client
that does not read its response is disconnected.

A client that sends one byte a second costs a connection and some memory, but no CPU time; only the
number of such clients must be bounded. The limits work like Apache's mod_reqtimeout: a few seconds,
and then a minimum rate.
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

# Seconds, and the bytes that must be received or sent in each such period.
IDLE_TIMEOUT: Final = 20.0
MIN_BYTES: Final = 1024 * IDLE_TIMEOUT
# File descriptors reserved for everything but connections.
RESERVED_FDS: Final = 256
log = logging.getLogger(__name__)


@lru_cache(1)
def max_connections() -> int:
    """Return the maximum number of connections, after raising the limit of open files.

    Processes often start with a limit of 1,024, for the sake of programs that use select().
    """
    if sys.platform == "win32":
        return sys.maxsize
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # macOS reports no limit, but allows fewer
            hard = soft
    return max(hard - RESERVED_FDS, hard // 2) if hard != resource.RLIM_INFINITY else sys.maxsize


class TimeoutProtocol(HttpToolsProtocol):
    """Closes connections whose client sends a request, or reads a response, too slowly.

    A timer runs only while something is missing: most requests arrive in one piece.
    """

    transport: asyncio.Transport
    cycle: Any
    received = 0
    receiving = True
    in_head = False
    rejection: bytes | None = None  # sent after the responses to earlier requests
    read_timer: asyncio.TimerHandle | None = None
    write_timer: asyncio.TimerHandle | None = None
    answered_at = 0.0  # when the last response was complete, a time of the event loop

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > max_connections():
            log.warning(
                "connection rejected: client=%s connections=%d", self.client, len(self.connections)
            )
            self.reject(NotReady("Too many connections are open. Try again later.", retry_after=1))
        else:
            self.start_read_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self.read_timer, self.write_timer):
            if timer is not None:
                timer.cancel()
        self._unset_keepalive_if_required()
        self.read_timer = self.write_timer = None  # breaks reference cycles with this object
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

    def start_keep_alive_timer(self) -> None:
        """Close the connection after the time that uvicorn allows without a request.

        One timer runs on through many requests. Another one for each would cost 3 µs.
        """
        self.answered_at = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection if it was idle for long enough."""
        self.timeout_keep_alive_task = None
        if self.receiving or (self.cycle and not self.cycle.response_complete):
            return  # its response starts the timer again
        remaining = self.answered_at + self.timeout_keep_alive - self.loop.time()
        if remaining > 0:
            self.timeout_keep_alive_task = self.loop.call_later(
                remaining, self.timeout_keep_alive_handler
            )
        else:
            self.transport.close()

    def start_read_timer(self) -> None:
        """Start the timer for the rest of a request, if it is not complete."""
        if self.receiving and self.read_timer is None and not self.transport.is_closing():
            self.read_timer = self.loop.call_later(
                IDLE_TIMEOUT, self._on_read_timeout, self.received
            )

    def stop_read_timer(self) -> None:
        """Stop the timer, because the request is complete."""
        self.receiving = False
        if self.read_timer is not None:
            self.read_timer.cancel()
            self.read_timer = None

    def reject(self, error: ServiceError) -> None:
        """Send an error after the responses to earlier requests, and close the connection.

        Nothing is sent if the response to the rejected request has started.
        """
        request_id = logs.new_request_id()
        token = logs.request_id.set(request_id.decode())
        log.info(
            "request rejected: client=%s status=%d error=%s",
            self.client,
            error.status,
            error.detail,
        )
        logs.request_id.reset(token)
        response = serialize_error(error, request_id, self.server_state.default_headers)
        has_cycle = self.receiving and not self.in_head and self.cycle is not None
        if is_queued := has_cycle and bool(self.pipeline):
            self.pipeline.popleft()  # the newest request, which is the rejected one
        if is_queued or (not has_cycle and self.cycle and not self.cycle.response_complete):
            self.rejection = response
            self.stop_read_timer()
            return
        if not (has_cycle and self.cycle.response_started):
            self.transport.write(response)
        self.transport.close()

    def send_rejection(self) -> None:
        """Send the error that waited for the responses to earlier requests, and close."""
        if self.rejection is not None and not self.transport.is_closing():
            self.transport.write(self.rejection)
            self.transport.close()

    def _on_read_timeout(self, received_before: int) -> None:
        """Keep waiting if enough data came, or if the app is still busy; else close."""
        self.read_timer, bytes_read = None, self.received - received_before
        answers_another = self.in_head and self.cycle and not self.cycle.response_complete
        if bytes_read >= MIN_BYTES or self.flow.read_paused or answers_another:
            self.start_read_timer()
            return
        if self.in_head or self.cycle:
            self.reject(
                RequestTimeout(
                    f"The client sent fewer than {MIN_BYTES:g} bytes in {IDLE_TIMEOUT:g} s. "
                    "Send the request faster."
                )
            )
        else:
            log.info("idle connection closed: client=%s", self.client)
            self.transport.close()

    def _start_write_timer(self) -> None:
        buffer_size = self.transport.get_write_buffer_size()
        self.write_timer = self.loop.call_later(IDLE_TIMEOUT, self._on_write_timeout, buffer_size)

    def _on_write_timeout(self, previous_size: int) -> None:
        buffer_size = self.transport.get_write_buffer_size()
        if previous_size - buffer_size >= MIN_BYTES:
            self._start_write_timer()
        else:
            log.info(
                "connection closed, client does not read: client=%s unsent_bytes=%d",
                self.client,
                buffer_size,
            )
            self.transport.abort()
