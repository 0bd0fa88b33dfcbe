"""ASGI middleware: request ID, allowed hosts, body limit, HEAD, shutdown deadline, CORS."""

import asyncio
import time
from typing import Final

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api import problem_details
from app.api.access_log import (
    HEADER,
    LOG_FIELDS,
    AccessLog,
    loggable_path,
    request_id_from,
    write_audit,
)
from app.api.body_limits import BodyLimits
from app.api.root_path import route_path
from app.auth.allowed_hosts import AllowedHosts
from app.errors import BodyTooLarge, Misdirected, NotReady, QueueFull
from app.server.raw_response import NOSNIFF
from app.server.shutdown import Shutdown
from app.telemetry import logs
from app.telemetry.metrics import Route
from app.telemetry.tracing import Tracing

MAX_LENGTH_DIGITS: Final = 20  # a longer Content-Length is ignored
METHODS: Final = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
OTHER: Final = "other"
# Bytes of each body that never count, so that small images are read under any load.
FREE_BYTES_PER_BODY: Final = 64 * 1024
MAX_BUFFERED_BODIES: Final = 25
# Seconds. By then the old process has released its port and a new one may be listening.
RETRY_AFTER: Final = 2


class RequestId:
    """Sets the request id, sends it back with `nosniff`, and logs one line for each request."""

    def __init__(self, app: ASGIApp, access_log: AccessLog, tracing: Tracing | None = None) -> None:
        self.app, self.access_log, self.tracing = app, access_log, tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = request_id_from(scope["headers"])
        logs.request_id.set(request_id.decode())
        if self.tracing:
            self.tracing.set_attributes({"request_id": request_id.decode()})
        status, started = 500, time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                # Without a body there is no type. Frameworks send the one of their default.
                unwanted = (HEADER, b"content-type") if status == 204 else (HEADER,)
                headers = [
                    header for header in message.get("headers", []) if header[0] not in unwanted
                ]
                message["headers"] = [*headers, (HEADER, request_id), NOSNIFF]
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            write_audit(scope, status)
            request_line = scope["method"], loggable_path(scope)
            fields = self._log_fields(scope)
            self.access_log.add(
                request_id.decode(), _route(scope), *request_line, status, started, fields
            )

    def _log_fields(self, scope: Scope) -> logs.LogFields:
        path_params = scope.get("path_params", {})
        fields = {"job_id": path_params["job_id"]} if "job_id" in path_params else {}
        spans = self.tracing.ids() if self.tracing else {}
        return {**fields, **scope.get(LOG_FIELDS, {}), **spans}


def _route(scope: Scope) -> Route:
    """Return the method and route of the request, for the metrics.

    Clients can invent any number of methods and paths, and each would be counted for ever.
    Requests without a route are therefore counted together.
    """
    method = scope["method"] if scope["method"] in METHODS else OTHER
    return Route(method, getattr(scope.get("route"), "path_format", OTHER))


class CheckHost:
    """Sends `421` to requests for a host that is not allowed."""

    def __init__(self, app: ASGIApp, allowed_hosts: AllowedHosts) -> None:
        self.app, self.allowed_hosts = app, allowed_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self.allowed_hosts.check(scope.get("headers", ()))
        except Misdirected as error:
            await problem_details.response(route_path(scope), error)(scope, receive, send)
        else:
            await self.app(scope, receive, send)


class HeadAsGet:
    """Answers HEAD as GET without the body (RFC 9110, 9.3.2). A stream is never started."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        get_scope = {**scope, "method": "GET"}

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body"})
                task.cancel()

        task = asyncio.ensure_future(self.app(get_scope, receive, send_head))
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
            scope.update(get_scope, method="HEAD")  # with the route, for the log and the metrics
        if not task.cancelled():
            task.result()


class ShutdownDeadline:
    """Sends `503` to requests that cannot finish before shutdown.

    These are uploads still in progress and weight imports. A response that has started may finish.
    """

    def __init__(self, app: ASGIApp, shutdown: Shutdown) -> None:
        self.app, self.shutdown = app, shutdown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            async with self.shutdown.deadline() as timeout:

                async def send_in_time(message: Message) -> None:
                    self.shutdown.lift(timeout)
                    await send(message)

                await self.app(scope, receive, send_in_time)
        except TimeoutError:
            error = NotReady(
                "The service is shutting down and cannot finish this request. Send it again later.",
                retry_after=RETRY_AFTER,
            )
            await problem_details.response(route_path(scope), error)(scope, receive, send)


class BodyLimit:
    """Rejects a body over its limit, by its Content-Length or once it exceeds the limit.

    A body stays in memory while it arrives, even if a client takes hours. Each may hold
    `FREE_BYTES_PER_BODY`; beyond that, all bodies together may hold as much as
    `MAX_BUFFERED_BODIES` bodies of maximum size. A spooled body goes to disk and does not count.
    """

    def __init__(self, app: ASGIApp, limits: BodyLimits) -> None:
        self.app, self.limits = app, limits
        self._buffered_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        content_length = Headers(scope=scope).get("content-length", "")
        expected = (
            int(content_length)
            if content_length.isdecimal() and len(content_length) < MAX_LENGTH_DIGITS
            else 0
        )
        max_bytes, is_spooled = self.limits.max_bytes(scope), self.limits.is_spooled(scope)
        received = buffered_bytes = 0

        async def receive_limited() -> Message:
            nonlocal received, buffered_bytes
            if expected > max_bytes:
                raise _body_too_large(max_bytes)
            message = await receive()
            received += len(message.get("body", b""))
            if received > max_bytes:
                raise _body_too_large(max_bytes)
            extra = 0 if is_spooled else max(0, received - FREE_BYTES_PER_BODY) - buffered_bytes
            if extra and self._buffered_bytes + extra > MAX_BUFFERED_BODIES * max_bytes:
                raise QueueFull(
                    "The service is receiving too many large uploads. Try again later.",
                    retry_after=1,
                )
            buffered_bytes += extra
            self._buffered_bytes += extra
            return message

        try:
            await self.app(scope, receive_limited, send)
        finally:
            self._buffered_bytes -= buffered_bytes


def _body_too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"The body is larger than the limit of {max_bytes} bytes. Send a smaller body."
    )


INFERENCE_LENGTH_HEADER: Final = "Inference-Header-Content-Length"
CORS_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE")
ALLOWED_HEADERS: Final = (
    "Authorization",
    "Content-Encoding",
    "X-API-Key",
    "X-Request-ID",
    "Idempotency-Key",
    "If-None-Match",
    "Last-Event-ID",
    "traceparent",  # W3C Trace Context and Baggage, which instrumented pages send
    "tracestate",
    "baggage",
    INFERENCE_LENGTH_HEADER,
)
EXPOSED_HEADERS: Final = (
    "X-Request-ID",
    "Retry-After",
    "Location",
    "ETag",
    "Content-Disposition",
    INFERENCE_LENGTH_HEADER,
)


def add_cors(app: ASGIApp, origins: list[str]) -> ASGIApp:
    """Allow cross-origin requests from these origins, without cookies: no route reads one."""
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=CORS_METHODS,
        allow_headers=ALLOWED_HEADERS,
        expose_headers=EXPOSED_HEADERS,
    )
