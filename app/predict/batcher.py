"""What arrived since the last forward goes into the next one.

What enters: one normalised image a call. What leaves: its answer. This module does not know how
images are made, nor which version answers.

There is no timer and no waiting for company: the first image of a batch asks the event loop for one
turn, all that arrives in this turn joins it, and a lone image is answered in the very next turn.
The forward runs on the event loop: for MyNet it takes less time than handing it to a thread.
"""

import asyncio
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from app.predict.live import Live
from app.predict.model import Answer

LARGEST: Final = 256


class WrongLength(Exception):
    """A batch came back with another length: nobody can know whose answers they are."""


class Batcher:
    """Collects images and answers them together. Belongs to one event loop."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self._waiting: list[tuple[NDArray[np.uint8], asyncio.Future[Answer]]] = []

    async def answer(self, pixels: NDArray[np.uint8]) -> Answer:
        """Answer for one (28, 28) uint8 image. Raises NotReady."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((pixels, future))
        if len(self._waiting) == 1:
            loop.call_soon(self._step)
        return await future

    def _step(self) -> None:
        """Collect, forward, answer."""
        batch, self._waiting = self._waiting[:LARGEST], self._waiting[LARGEST:]
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._step)
        # Who no longer waits, because of a deadline or a lost connection, costs no forward.
        wanted = [(pixels, future) for pixels, future in batch if not future.done()]
        if not wanted:
            return
        try:
            pixels = torch.from_numpy(np.stack([pixels for pixels, _ in wanted]))
            answers = self.live.model.answer(pixels)
            if len(answers) != len(wanted):
                raise WrongLength(f"{len(wanted)} images went in, {len(answers)} answers came out")
        except Exception as error:
            for _, future in wanted:
                future.set_exception(error)
        else:
            for (_, future), answer in zip(wanted, answers, strict=True):
                future.set_result(answer)
