"""Counters and histograms of one process: plain numbers that are cheap to increment.

A `Metrics` belongs to one event loop. Threads return their measurements with their results.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

ANSWERED: Final = "answered"
# Why a decoder was replaced: a crash or an invalid reply, a signal from outside, its memory, an
# image over its deadline, a client that disconnected.
RESTART_REASONS: Final = ("crash", "killed", "memory", "deadline", "cancelled")
STAGES: Final = ("queue", "decode", "normalise", "forward")
# A small image takes a tenth of a millisecond, a photo a tenth of a second.
STAGE_SECONDS: Final = (
    1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.1, 0.5, 2.0
)  # fmt: skip
REQUEST_SECONDS: Final = (
    2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0
)  # fmt: skip
IMAGES: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256)
CONFIDENCES: Final = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999, 1.0)

MIN_ARRAY: Final = 8  # values from which on NumPy sorts them in less time


class Histogram:
    """Counts of values by upper bound: `counts[n]` has those up to `bounds[n]`."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float, times: int = 1) -> None:
        """Count a value `times` times."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times

    def add_all(self, values: Sequence[float] | NDArray[np.float64]) -> None:
        """Count each value once."""
        if len(values) < MIN_ARRAY:
            for value in values:
                self.add(float(value))
            return
        bound_indices = np.searchsorted(self.bounds, values)
        for index, times in enumerate(np.bincount(bound_indices).tolist()):
            self.counts[index] += times
        self.sum += float(np.sum(values))


class Route(NamedTuple):
    """A method, and the path template of a route."""

    method: str
    path: str


class Metrics:
    """All metrics of one process."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[Route, int]] = Counter()
        self.request_seconds: dict[Route, Histogram] = {}
        self.images: Counter[str] = Counter()
        self.decoder_restarts: Counter[str] = Counter()
        self.digits = [0] * 10
        self.confidence = Histogram(CONFIDENCES)
        self.batch_images = Histogram(IMAGES)
        self.stages = {stage: Histogram(STAGE_SECONDS) for stage in STAGES}

    def request(self, route: Route, status: int, seconds: float) -> None:
        """Count an answered request."""
        self.requests[route, status] += 1
        histogram = self.request_seconds.get(route)
        if histogram is None:
            histogram = self.request_seconds[route] = Histogram(REQUEST_SECONDS)
        histogram.add(seconds)

    def answers(
        self,
        digits: NDArray[np.int64],
        confidences: NDArray[np.float64],
        decode: Sequence[float] | NDArray[np.float64],
        normalise: Sequence[float] | NDArray[np.float64],
    ) -> None:
        """Count answered images: of each the digit, its confidence, and two durations, in seconds.

        The durations are those of decoding and of normalising it.
        """
        self.images[ANSWERED] += len(digits)
        for digit in digits.tolist():
            self.digits[digit] += 1
        self.confidence.add_all(confidences)
        self.stages["decode"].add_all(decode)
        self.stages["normalise"].add_all(normalise)

    def batch(self, images: int, forward: float) -> None:
        """Count a batch. Each of its images waits for the whole forward pass."""
        self.batch_images.add(images)
        self.stages["forward"].add(forward, images)
