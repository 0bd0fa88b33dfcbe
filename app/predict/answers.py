"""BatchAnswers of one version: for one image, and for the images of a batch."""

from collections.abc import Iterator
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json

from app.net import DIGITS

SIGNIFICANT_DIGITS: Final = 7  # a float32 has no more
# The largest power of ten that a float64 holds exactly. With such a power, the quotient is the
# float64 nearest to the decimal number, so that its text is short.
MAX_EXPONENT: Final = 22
FALSE: Final = b'"is_digit":false,"reason":"%b"'


class Answer(NamedTuple):
    """The prediction of one version for one image; the ten probabilities sum to 1."""

    digit: int
    probabilities: list[float]
    is_digit: bool
    version: int
    digit_count: int = 1

    @property
    def reason(self) -> str | None:
        """Return why this is not one digit, or None if it is."""
        return _reason(self.is_digit, self.digit_count)

    def rounded_probabilities(self) -> list[float]:
        """Return the probabilities as clients get them, with at most seven significant digits."""
        rounded: list[float] = _round_to_digits(np.array(self.probabilities)).tolist()
        return rounded


class BatchAnswers:
    """The predictions of one version for B images, in order.

    `digits` (B,) int64, `probabilities` (B, 10) float64 and `is_digit` (B,) bool. `counts` has the
    number of digits in each image. A sequence of `Answer`; consumers of many images read the
    arrays.
    """

    def __init__(
        self,
        digits: NDArray[np.int64],
        probabilities: NDArray[np.float64],
        is_digit: NDArray[np.bool_],
        version: int,
        counts: list[int] | None = None,
    ) -> None:
        self.digits, self.probabilities, self.is_digit = digits, probabilities, is_digit
        self.version, self.counts = version, counts or [1] * len(digits)

    @classmethod
    def none(cls, version: int) -> "BatchAnswers":
        """Return the answers for no image."""
        return cls(np.empty(0, np.int64), np.empty((0, DIGITS)), np.empty(0, np.bool_), version)

    def __len__(self) -> int:
        return len(self.digits)

    def __getitem__(self, index: int) -> Answer:
        return self._rows[index]

    def __iter__(self) -> Iterator[Answer]:
        return iter(self._rows)

    @cached_property
    def _rows(self) -> list[Answer]:
        columns = self.digits.tolist(), self.probabilities.tolist(), self.is_digit.tolist()
        rows = zip(*columns, self.counts, strict=True)
        return [Answer(digit, shares, ok, self.version, n) for digit, shares, ok, n in rows]

    def with_counts(self, counts: list[int]) -> "BatchAnswers":
        """Return the answers for images with so many digits; with several, none is one digit."""
        if counts == self.counts:
            return self
        is_digit = self.is_digit & (np.array(counts) == 1)
        return BatchAnswers(self.digits, self.probabilities, is_digit, self.version, counts)

    def select(self, indices: list[int]) -> "BatchAnswers":
        """Return the answers at these indices, in their order."""
        return BatchAnswers(
            self.digits[indices],
            self.probabilities[indices],
            self.is_digit[indices],
            self.version,
            [self.counts[index] for index in indices],
        )

    @cached_property
    def confidences(self) -> NDArray[np.float64]:
        """Return the probability of each image's digit, which is its largest, (B,)."""
        confidences: NDArray[np.float64] = self.probabilities.max(1)
        return confidences

    @cached_property
    def json_fields(self) -> list[bytes]:
        """Return the fields of each answer as JSON, without braces.

        The probabilities have at most seven significant digits. The numbers of all images are
        formatted in one call.
        """
        rounded = _round_to_digits(self.probabilities)
        rows = zip(rounded.max(1).tolist(), rounded.tolist(), strict=True)
        texts = to_json([[confidence, *row] for confidence, row in rows])[2:-2].split(b"],[")
        return [
            b'"digit":%d,"confidence":%b,"probabilities":[%b],%b,"count":%d,"version":%d'
            % (digit, confidence, probabilities, verdict, count, self.version)
            for (confidence, _, probabilities), digit, verdict, count in zip(
                (text.partition(b",") for text in texts),
                self.digits.tolist(),
                map(_verdict_json, self.is_digit.tolist(), self.counts),
                self.counts,
                strict=True,
            )
        ]


def _round_to_digits(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Round numbers from 0 to 1 to `SIGNIFICANT_DIGITS`; those below 5e-23 become 0."""
    exponents = SIGNIFICANT_DIGITS - 1 - np.floor(np.log10(np.maximum(values, 1e-300)))
    scales = 10.0 ** np.minimum(exponents, MAX_EXPONENT)
    rounded: NDArray[np.float64] = np.rint(values * scales) / scales
    return rounded


def _reason(is_digit: bool, count: int) -> str | None:
    if count > 1:
        return "several_digits"
    return None if is_digit else "not_a_digit"


def _verdict_json(is_digit: bool, count: int) -> bytes:
    reason = _reason(is_digit, count)
    return b'"is_digit":true,"reason":null' if reason is None else FALSE % reason.encode()
