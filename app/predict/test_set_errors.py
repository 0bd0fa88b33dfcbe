"""Test-set predictions of a version: the images behind each cell of its confusion matrix."""

import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.datasets.catalogue import Datasets
from app.datasets.records import CORRECTIONS, MNIST_TEST
from app.errors import Conflict, NotFound
from app.mnist.files import LabelledImages, read_test_images
from app.predict.live_model import LiveModel

CACHE_SIZE: Final = 8
# As in `app.train.evaluation.evaluate`: the same sums in the same order as for the card.
CHUNK: Final = 2000


@dataclass(frozen=True, slots=True)
class LabelledPrediction:
    """A test image, (28, 28) uint8, with the predicted digit and its probability."""

    index: int
    digit: int
    answer: int
    confidence: float
    pixels: NDArray[np.uint8]


class Answers(NamedTuple):
    """The predicted digits of one version for all test images, (N,), and their probabilities."""

    digits: NDArray[np.uint8]
    confidences: NDArray[np.float64]


class MisclassifiedImages:
    """Finds misclassified images of the data set that a version was tested on.

    Each version is evaluated once, on its first request.
    """

    def __init__(self, live: LiveModel, data_dir: Path, datasets: Datasets) -> None:
        self.live, self.data_dir, self.datasets = live, data_dir, datasets
        self._read = lru_cache(1)(lambda reference: datasets.images(datasets.get(reference)))
        self._answers = lru_cache(CACHE_SIZE)(self._answer)
        self._lock = threading.Lock()

    def page(
        self, version: int, digit: int | None, answer: int | None, *, after: int, limit: int
    ) -> tuple[list[LabelledPrediction], bool]:
        """Return a page of test images with this label and this answer, and whether more follow.

        None stands for any digit; unless both are set, only misclassified images are listed.
        Raises NotFound, Conflict if the data set was deleted, NotReady.
        """
        self.live.registry.path(version)  # raises if the version was deleted, even if it is cached
        images = self._images(version)
        with self._lock:
            answers = self._answers(version)
        indices = np.flatnonzero(_filter_mask(images.labels, answers.digits, digit, answer))
        indices = indices[indices > after]
        page = [
            LabelledPrediction(
                index=int(index),
                digit=int(images.labels[index]),
                answer=int(answers.digits[index]),
                confidence=float(answers.confidences[index]),
                pixels=images.pixels[index],
            )
            for index in indices[:limit]
        ]
        return page, len(indices) > limit

    def _images(self, version: int) -> LabelledImages:
        """Return the images that a version was tested on. Raises Conflict, NotReady."""
        data = self.live.registry.card(version).data
        if data is None or data.test.id == MNIST_TEST:
            return read_test_images(self.data_dir)
        if data.test.id == CORRECTIONS:
            raise Conflict(
                f"Version {version} was tested on the corrections of that time, which are not "
                "kept. GET /datasets/corrections/images lists those of now."
            )
        try:
            self.datasets.get(data.test.id)  # raises if it was deleted, even if it is cached
            return self._read(data.test.id)
        except NotFound:
            raise Conflict(
                f"Version {version} was tested on the data set {data.test.name}, which was "
                "deleted, so its test images cannot be listed."
            ) from None

    def _answer(self, version: int) -> Answers:
        model, pixels = self.live.get(version), self._images(version).pixels
        answers = [
            answer
            for start in range(0, len(pixels), CHUNK)
            for answer in model.answer(pixels[start : start + CHUNK])
        ]
        return Answers(
            np.array([answer.digit for answer in answers], np.uint8),
            np.array([answer.probabilities[answer.digit] for answer in answers]),
        )


def _filter_mask(
    labels: NDArray[np.uint8], answers: NDArray[np.uint8], digit: int | None, answer: int | None
) -> NDArray[np.bool_]:
    mask = np.ones(len(labels), np.bool_)
    if digit is not None:
        mask &= labels == digit
    if answer is not None:
        mask &= answers == answer
    if digit is None or answer is None:
        mask &= answers != labels
    return mask
