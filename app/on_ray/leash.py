"""What ties a worker elsewhere to the process that the supervisor started.

What enters: a pull. What leaves: word of it, and on the way back an exit code. This module does not
know between which machines it lies.
"""

import asyncio


class Leash:
    """Lies beside the process that the supervisor started, and is gone when that is."""

    def __init__(self) -> None:
        self.pulled = asyncio.Event()
        self.code = 0

    async def pull(self) -> None:
        self.pulled.set()

    async def until_pulled(self) -> None:
        await self.pulled.wait()

    async def end(self, code: int | None = None) -> int:
        """Give the exit code, which the worker tells."""
        self.code = self.code if code is None else code
        return self.code
