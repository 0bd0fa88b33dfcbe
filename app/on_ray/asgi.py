"""ASGI adapter for a server that does not pass lifespan state to requests (Ray Serve)."""

import asyncio
import math
from contextlib import AsyncExitStack
from typing import Any, Final

from fastapi import FastAPI
from starlette.types import Message, Receive, Scope, Send

from app.api.access_log import HEADER
from app.api.dependencies import Services

# Seconds between two health checks, and without one until the app drains.
HEALTH_EVERY: Final = 1.0
UNASKED: Final = 8.0


class HostedApp:
    """An app whose lifespan is controlled by `begin`, which raises start-up errors, and `end`."""

    def __init__(self, app: FastAPI) -> None:
        self.app = app
        self.routes = app.routes  # the server's own metrics name them
        self._unasked = -math.inf  # until the first health check
        self._stack = AsyncExitStack()
        self._state: dict[str, Any] = {}

    @property
    def services(self) -> Services:
        services: Services = self._state["services"]
        return services

    async def begin(self) -> None:
        """Run the start-up of the app's lifespan. Raises its errors."""
        state = await self._stack.enter_async_context(self.app.router.lifespan_context(self.app))
        self._state = {**(state or {})}

    async def end(self) -> None:
        await self._stack.aclose()

    async def check(self) -> None:
        """Record a health check. Raises NotReady if the app must not get requests."""
        self._unasked = 0.0
        self.services.draining.clear()
        self.services.check_ready()

    async def drain_when_unprobed(self) -> None:
        """Drain the app once health checks stop.

        Serve stops checking a replica that it takes down, but notifies it only after all requests
        are answered. Streams of job events would delay that. Time in which this process was
        suspended does not count, because it could not receive a check.
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
            # A server that generates the request id before the app does also sends it.
            if request_id is not None and message["type"] == "http.response.start":
                headers = message.get("headers", [])
                message["headers"] = [
                    header for header in headers if [*header] != [HEADER, request_id]
                ]
            await send(message)

        await self.app({**scope, "state": {**self._state}}, receive, send_once)

    async def _live(self, receive: Receive, send: Send) -> None:
        """Answer lifespan messages; `begin` has run already, and shutdown calls `end`."""
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await self.end()
                await send({"type": "lifespan.shutdown.complete"})
                return
            await send({"type": "lifespan.startup.complete"})
