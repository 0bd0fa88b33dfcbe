"""The app inside another server, which keeps its lifespan and its requests apart.

What enters: an app, and ASGI of a server that hands no state from the lifespan to requests. What
leaves: the same, with what the app has open at hand. This module does not know which server it is.
"""

import asyncio
import math
from contextlib import AsyncExitStack
from typing import Any, Final

from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from app.api.access_log import HEADER
from app.api.dependencies import Services

# Seconds between two questions for its health, and without one until it drains.
HEALTH_EVERY: Final = 1.0
UNASKED: Final = 8.0


class HostedApp:
    """An app between `begin`, which tells what went wrong by raising it, and `end`."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.routes = app.routes  # the server's own metrics name them
        self._unasked = -math.inf  # until it is asked for the first time
        self._stack = AsyncExitStack()
        self._state: dict[str, Any] = {}

    @property
    def services(self) -> Services:
        services: Services = self._state["services"]
        return services

    async def begin(self) -> None:
        """Open what the app needs. Raises what keeps it from that."""
        state = await self._stack.enter_async_context(self.app.router.lifespan_context(self.app))
        self._state = {**(state or {})}

    async def end(self) -> None:
        await self._stack.aclose()

    async def check(self) -> None:
        """Raises NotReady where it should get no requests."""
        self._unasked = 0.0
        self.services.draining.clear()
        self.services.check_ready()

    async def drain_when_unprobed(self) -> None:
        """Drain where nobody asks any more: Serve asks no replica that it takes down, and tells it
        only once all requests are answered, which those that follow a job would put off. Time in
        which this process stood still is not counted: it could hear of no question.
        """
        while True:
            await asyncio.sleep(HEALTH_EVERY)
            self._unasked += HEALTH_EVERY
            if self._unasked > UNASKED:
                self.services.draining.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        request_id = next((value for name, value in scope["headers"] if name == HEADER), None)

        async def send_once(message: Message) -> None:
            # A server that draws a request's id before the app does answers with it, too.
            if request_id is not None and message["type"] == "http.response.start":
                headers = message.get("headers", [])
                message["headers"] = [
                    header for header in headers if [*header] != [HEADER, request_id]
                ]
            await send(message)

        await self.app({**scope, "state": {**self._state}}, receive, send_once)

    async def _live(self, receive: Receive, send: Send) -> None:
        """It has begun by then, and ends when it is told to."""
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self.end()
                await send({"type": "lifespan.shutdown.complete"})
                return
            await send({"type": "lifespan.startup.complete"})
