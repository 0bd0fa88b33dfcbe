"""ASGI middleware: request ID, body limit, HEAD, shutdown deadline, CORS."""

import asyncio
import time
from typing import Final

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api import access_log as audit
from app.api import problem_details
from app.api.access_log import HEADER, LOG_FIELDS, AccessLog, request_id_from, loggable_path
from app.errors import BodyTooLarge, QueueFull, NotReady
from app.server.shutdown import Shutdown
from app.telemetry import logs
from app.telemetry.metrics import Route
from app.telemetry.tracing import Tracing

DIGITS: Final = 20  # of a length that can be meant
METHODS: Final = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
OTHER: Final = "other"
# Bytes of each body, so that small images are read whatever else comes.
FREE_BYTES_PER_BODY: Final = 64 * 1024
MAX_BUFFERED_BODIES: Final = 25
# Seconds: by then the process that ends has let go of its port, and another may have it.
RETRY_AFTER: Final = 2


class RequestId:
    """Takes the request's id or draws one, answers with it, and logs one line a request."""

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
                headers = [each for each in message.get("headers", []) if each[0] != HEADER]
                message["headers"] = [*headers, (HEADER, request_id)]
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        finally:
            audit.write(scope, status)
            asked = scope["method"], loggable_path(scope)
            known = self._known(scope)
            self.access_log.add(request_id.decode(), _route(scope), *asked, status, started, known)

    def _known(self, scope: Scope) -> logs.LogFields:
        path = scope.get("path_params", {})
        known = {"job_id": path["job_id"]} if "job_id" in path else {}
        spans = self.tracing.ids() if self.tracing else {}
        return {**known, **scope.get(LOG_FIELDS, {}), **spans}


def _route(scope: Scope) -> Route:
    """Say where the request went. Clients can make up any number of methods and paths, each of
    which would be counted for ever: what is no route's is taken together.
    """
    method = scope["method"] if scope["method"] in METHODS else OTHER
    return Route(method, getattr(scope.get("route"), "path_format", OTHER))


class HeadAsGet:
    """Answers HEAD as GET, without the body (RFC 9110, 9.3.2); what would stream is not begun."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        asked = {**scope, "method": "GET"}

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body"})
                answering.cancel()

        answering = asyncio.ensure_future(self.app(asked, receive, send_head))
        try:
            await asyncio.wait([answering])
        finally:
            answering.cancel()
            scope.update(asked, method="HEAD")  # with the route, for the log and the tally
        if not answering.cancelled():
            answering.result()


class ShutdownDeadline:
    """Answers who would get no answer any more, since the service ends: whose body is still coming,
    or whose file is being appraised. An answer that has begun is left to end.
    """

    def __init__(self, app: ASGIApp, ending: Shutdown) -> None:
        self.app, self.ending = app, ending

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            async with self.ending.deadline() as limit:

                async def send_in_time(message: Message) -> None:
                    self.ending.lift(limit)
                    await send(message)

                await self.app(scope, receive, send_in_time)
        except TimeoutError:
            late = NotReady("The service ends before this is answered.", retry_after=RETRY_AFTER)
            await problem_details.response(scope["path"], late)(scope, receive, send)


class BodyLimit:
    """Refuses a body over `most` bytes: at once where its length is told, else where it passes.

    Bodies under way are in memory, also of those who take hours to send them: what goes beyond
    `UNCOUNTED` of each is refused while it is as much as `TOGETHER` of the largest.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app, self.most = app, most
        self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        told = Headers(scope=scope).get("content-length", "")
        expected = int(told) if told.isdecimal() and len(told) < DIGITS else 0
        received = held = 0

        async def receive_limited() -> Message:
            nonlocal received, held
            if expected > self.most:
                raise self._refusal()
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.most:
                raise self._refusal()
            more = max(0, received - FREE_BYTES_PER_BODY) - held
            if more and self._held + more > MAX_BUFFERED_BODIES * self.most:
                raise QueueFull("Too much is being uploaded at once.", retry_after=1)
            held += more
            self._held += more
            return message

        try:
            await self.app(scope, receive_limited, send)
        finally:
            self._held -= held

    def _refusal(self) -> BodyTooLarge:
        return BodyTooLarge(
            f"The body is larger than {self.most} bytes, the most that this service takes."
        )


TENSORS: Final = "Inference-Header-Content-Length"
CORS_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE")
SENT: Final = (
    "Authorization",
    "X-API-Key",
    "X-Request-ID",
    "Idempotency-Key",
    "If-None-Match",
    "Last-Event-ID",
    TENSORS,
)
SHOWN: Final = ("X-Request-ID", "Retry-After", "Location", "ETag", "Content-Disposition", TENSORS)


def around(app: ASGIApp, origins: list[str]) -> ASGIApp:
    """Let pages of these origins ask; no cookies, which nothing here looks at."""
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=CORS_METHODS,
        allow_headers=SENT,
        expose_headers=SHOWN,
    )
