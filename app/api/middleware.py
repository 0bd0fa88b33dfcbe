"""What happens to every request: it gets an id, a line in the log, and a limit on its body.

What enters and leaves: ASGI. This module does not know of routes.
"""

import asyncio
import logging
import random
import re
import time
from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import logs
from app.errors import BodyTooLarge

HEADER: Final = b"x-request-id"
ACCEPTABLE: Final = re.compile(rb"[\x21-\x7e]{1,128}")
DIGITS: Final = 20  # of a length that can be meant
log = logging.getLogger(logs.ACCESS)


class RequestId:
    """Takes the request's id or draws one, answers with it, and logs one line a request."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._answered: list[tuple[str, str, str, int, float]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _id_of(scope)
        logs.request_id.set(request_id.decode())
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
            milliseconds = 1000 * (time.perf_counter() - started)
            line = request_id.decode(), scope["method"], scope["path"], status, milliseconds
            self._log_soon(line)

    def _log_soon(self, line: tuple[str, str, str, int, float]) -> None:
        """Log all that one turn of the event loop answers together: one after the other is dear."""
        self._answered.append(line)
        if len(self._answered) == 1:
            asyncio.get_running_loop().call_soon(self._log)

    def _log(self) -> None:
        answered, self._answered = self._answered, []
        for request_id, *line in answered:
            logs.request_id.set(request_id)
            log.info("%s %s %d %.1f ms", *line)


def _id_of(scope: Scope) -> bytes:
    for name, value in scope["headers"]:
        if name == HEADER and ACCEPTABLE.fullmatch(value):
            return bytes(value)
    return b"%016x" % random.getrandbits(64)


class BodyLimit:
    """Refuses a body over `most` bytes: at once where its length is told, else where it passes."""

    def __init__(self, app: ASGIApp, most: int) -> None:
        self.app, self.most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        told = Headers(scope=scope).get("content-length", "")
        expected = int(told) if told.isdecimal() and len(told) < DIGITS else 0
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            if expected > self.most:
                raise self._refusal()
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.most:
                raise self._refusal()
            return message

        await self.app(scope, receive_limited, send)

    def _refusal(self) -> BodyTooLarge:
        return BodyTooLarge(
            f"The body is larger than {self.most} bytes, the most that this service takes."
        )
