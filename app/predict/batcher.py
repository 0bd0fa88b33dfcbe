"""What arrived since the last forward goes into the next one.

What enters: one upload a call. What leaves: what was seen in it, and the answer. This module does
not know how images are made, nor which version answers.

There is no timer and no waiting for company: the first upload of a batch asks the event loop for
one turn, all that arrives in this turn joins it, and a lone upload is answered in the very next
turn. All of it runs on the event loop: for small images and MyNet it takes less time than handing
it to a thread. Each step is taken for all uploads before the next: code and weights that are used
again at once are still in the processor's caches, and decoding costs a third.
"""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.errors import ClientGone, Refusal
from app.predict.live import Live
from app.predict.model import Answer
from app.predict.seen import Seen, see_small

LARGEST: Final = 256


class WrongLength(Exception):
    """A batch came back with another length: nobody can know whose answers they are."""


class Predicted(NamedTuple):
    """What was seen in an upload, and the answer; saliency, (28, 28) uint8, where asked for."""

    seen: Seen
    answer: Answer
    saliency: NDArray[np.uint8] | None = None


class Waiting(NamedTuple):
    """Someone who waits: until a time of the loop's clock, and unless gone."""

    upload: bytes | Seen
    predicted: asyncio.Future[Predicted | None]
    until: float
    is_gone: Callable[[], bool]


class Batcher:
    """Collects images and answers them together. Belongs to one event loop."""

    def __init__(self, live: Live, max_pixels: int) -> None:
        self.live, self.max_pixels = live, max_pixels
        self._waiting: list[Waiting] = []

    async def predict(
        self, upload: bytes | Seen, until: float, is_gone: Callable[[], bool]
    ) -> Predicted | None:
        """Answer for one image, seen already or small; None where seeing it takes a while.

        Raises NotAnImage, ImageTooLarge, BlankImage, NotReady, TimeoutError, ClientGone.
        """
        return await self._enter(upload, until, is_gone)

    def _enter(
        self, upload: bytes | Seen, until: float, is_gone: Callable[[], bool]
    ) -> asyncio.Future[Predicted | None]:
        loop = asyncio.get_running_loop()
        predicted: asyncio.Future[Predicted | None] = loop.create_future()
        self._waiting.append(Waiting(upload, predicted, until, is_gone))
        if len(self._waiting) == 1:
            loop.call_soon(self._step)
        return predicted

    def _step(self) -> None:
        """Collect, see, forward, answer."""
        loop = asyncio.get_running_loop()
        batch, self._waiting = self._waiting[:LARGEST], self._waiting[LARGEST:]
        if self._waiting:
            loop.call_soon(self._step)
        now = loop.time()
        wanted = [each for each in batch if _is_wanted(each, now)]
        seen = [self._see(each) for each in wanted]
        together = [(each.predicted, it) for each, it in zip(wanted, seen, strict=True) if it]
        if together:
            self._answer(together)

    def _see(self, waiting: Waiting) -> Seen | None:
        """See one upload; what is wrong with it is told to its own sender alone."""
        if isinstance(waiting.upload, Seen):
            return waiting.upload
        try:
            seen = see_small(waiting.upload, self.max_pixels)
        except Refusal as refusal:
            waiting.predicted.set_exception(_without_trace(refusal))
        except Exception as error:
            waiting.predicted.set_exception(error)
        else:
            if seen is None:
                waiting.predicted.set_result(None)
            return seen
        return None

    def _answer(self, together: list[tuple[asyncio.Future[Predicted | None], Seen]]) -> None:
        try:
            pixels = np.stack([seen.normalised.pixels for _, seen in together])
            answers = self.live.model.answer(pixels)
            if len(answers) != len(pixels):
                raise WrongLength(f"{len(pixels)} images went in, {len(answers)} answers came out")
        except Exception as error:
            for predicted, _ in together:
                predicted.set_exception(error)
        else:
            for (predicted, seen), answer in zip(together, answers, strict=True):
                predicted.set_result(Predicted(seen, answer))


def _without_trace(refusal: Refusal) -> Refusal:
    """Its frames hold the batch, whose futures hold the refusal: a ring that only the garbage
    collector would open, with all uploads in it.
    """
    refusal.__cause__ = refusal.__context__ = None
    return refusal.with_traceback(None)


def _is_wanted(waiting: Waiting, now: float) -> bool:
    """Who no longer waits costs no work: cancelled, hung up, or out of time."""
    if waiting.predicted.done():
        return False
    if waiting.is_gone():
        waiting.predicted.set_exception(ClientGone("The client hung up."))
    elif now > waiting.until:
        waiting.predicted.set_exception(TimeoutError())
    return not waiting.predicted.done()
