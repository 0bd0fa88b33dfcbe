"""Import of an upload as a data set: read, decode, normalise, look for suspect labels, store.

A process of its own reads the archive. Image files are normalised as `/predict` does it: small
plain PNGs in a thread, all others by decoder processes, which let predictions go first.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import IO, Final

import numpy as np
from numpy.typing import NDArray

from app.config.settings import Settings
from app.dataset_import.formats.items import Limits, Picture, Pixels, Rejection
from app.dataset_import.process import read_items
from app.datasets.catalogue import Datasets
from app.datasets.records import Dataset, RejectedImage, SuspectImage, check_name
from app.errors import (
    BlankImage,
    DeadlineExceeded,
    FieldError,
    ImageTooLarge,
    InvalidField,
    NotAnImage,
    QueueFull,
)
from app.mnist.files import LabelledImages
from app.predict.image_decoders import ImageDecoders
from app.predict.model import Model
from app.predict.preprocess import PreprocessedImage
from app.predict.preprocess_batch import preprocess_batch
from app.predict.queues.admission import raise_if_disconnected
from app.predict.queues.urgency_queue import Urgency

IMAGE_ERRORS: Final = (NotAnImage, ImageTooLarge, BlankImage)
MAX_UNPACKED_FACTOR: Final = 4
# Pictures that are decoded together, and their bytes in memory.
CHUNK: Final = 64
CHUNK_BYTES: Final = 16 * 1024**2
# Uploads that one process reads at a time: each may hold all its images in memory.
MAX_IMPORTS: Final = 2
# Seconds that a picture waits for a decoder, and before it tries again if predictions fill them.
QUEUE_TIMEOUT: Final = 30.0
RETRY_INTERVAL: Final = 0.25
# The share of a label's images that the live version may contradict by mistake is far smaller.
SUSPECT_CONFIDENCE: Final = 0.95
ANSWER_CHUNK: Final = 2000


class DatasetImporter:
    """Imports uploads, a bounded number at a time. Belongs to one event loop."""

    def __init__(self, settings: Settings, datasets: Datasets, decoders: ImageDecoders) -> None:
        self.settings, self.datasets, self.decoders = settings, datasets, decoders
        self.in_flight = 0

    async def run(
        self,
        file: IO[bytes],
        name: str,
        model: Model,
        is_cancelled: Callable[[], bool],
        *,
        transposed: bool = False,
    ) -> tuple[Dataset, bool]:
        """Store an upload as a data set, and return it, and whether it is new.

        `model` looks for suspect labels. Raises MalformedRequest, BodyTooLarge, InvalidField,
        Conflict, QueueFull, NotReady, ClientDisconnected.
        """
        check_name(name)
        if self.in_flight >= MAX_IMPORTS:
            raise QueueFull(
                f"{self.in_flight} data sets are being read. Try again later.", retry_after=30
            )
        self.in_flight += 1
        try:
            collection = await self._collect(file, is_cancelled, transposed=transposed)
        finally:
            self.in_flight -= 1
        return await asyncio.to_thread(self._store, name, collection, model)

    async def _collect(
        self, file: IO[bytes], is_cancelled: Callable[[], bool], *, transposed: bool
    ) -> "_Collection":
        settings, collection, pictures = self.settings, _Collection(), list[Picture]()
        limits = Limits(
            settings.max_dataset_images,
            MAX_UNPACKED_FACTOR * settings.max_dataset_bytes,
            settings.max_body_bytes,
            transposed,
        )
        async for item in read_items(file, limits):
            raise_if_disconnected(is_cancelled)
            if not isinstance(item, Picture):
                collection.add(item)
                continue
            pictures.append(item)
            if len(pictures) == CHUNK or sum(len(p.content) for p in pictures) > CHUNK_BYTES:
                await self._decode(pictures, collection, is_cancelled)
                pictures = []
        await self._decode(pictures, collection, is_cancelled)
        return collection

    async def _decode(
        self,
        pictures: Sequence[Picture],
        collection: "_Collection",
        is_cancelled: Callable[[], bool],
    ) -> None:
        """Normalise pictures, as many at a time as there are decoders, and add them in order."""
        uploads = [picture.content for picture in pictures]
        outcomes = await asyncio.to_thread(preprocess_batch, uploads, self.settings.max_pixels)
        slots = asyncio.Semaphore(self.settings.effective_decoders)

        async def normalised(index: int) -> NDArray[np.uint8] | Exception:
            outcome = outcomes[index]
            if outcome is None:
                async with slots:
                    outcome = await self._decode_one(uploads[index], is_cancelled)
            return outcome if isinstance(outcome, Exception) else outcome.normalised.pixels

        results = await asyncio.gather(*map(normalised, range(len(pictures))))
        for picture, result in zip(pictures, results, strict=True):
            collection.add_picture(picture, result)

    async def _decode_one(
        self, upload: bytes, is_cancelled: Callable[[], bool]
    ) -> PreprocessedImage | Exception:
        """Return the image or its error. If predictions fill the queue, wait until they do not."""
        clock = asyncio.get_running_loop().time
        while True:
            try:
                return await self.decoders.read_digit(
                    upload, clock() + QUEUE_TIMEOUT, is_cancelled, Urgency.BATCH
                )
            except QueueFull:
                await asyncio.sleep(RETRY_INTERVAL)
            except IMAGE_ERRORS as error:
                return error
            except TimeoutError:
                return DeadlineExceeded("The image was not decoded in time.")

    def _store(self, name: str, collection: "_Collection", model: Model) -> tuple[Dataset, bool]:
        images = collection.images()
        suspect = _suspect(images, collection.names, model)
        return self.datasets.add(name, images, collection.rejected, suspect, model.version)


class _Collection:
    """The images of an upload so far, in order, and those that were rejected."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.rejected: list[RejectedImage] = []
        self._labels: list[NDArray[np.uint8]] = []
        self._pixels: list[NDArray[np.uint8]] = []

    def add(self, item: Pixels | Rejection) -> None:
        if isinstance(item, Rejection):
            self.rejected.append(RejectedImage(name=item.name, code=item.code))
            return
        self.names += [f"{item.kind} {number}" for number in item.numbers]
        self._labels.append(item.labels)
        self._pixels.append(item.pixels)

    def add_picture(self, picture: Picture, result: NDArray[np.uint8] | Exception) -> None:
        """Add a picture with its pixels or its error. Raises an error that is no image's."""
        if isinstance(result, (*IMAGE_ERRORS, DeadlineExceeded)):
            self.rejected.append(RejectedImage(name=picture.name, code=result.code))
            return
        if isinstance(result, Exception):
            raise result
        self.names.append(picture.name)
        self._labels.append(np.array([picture.label], np.uint8))
        self._pixels.append(result[None])

    def images(self) -> LabelledImages:
        """Return all images. Raises InvalidField if there is none."""
        if not self.names:
            reasons = "; ".join(f"{image.name}: {image.code}" for image in self.rejected[:3])
            found = f"none of its {len(self.rejected)} images can be used ({reasons})"
            message = found if self.rejected else "it has no images"
            raise InvalidField(
                f"file: {message}. Send folders `0` to `9`, or pixels that are whole numbers from "
                "0 to 255.",
                errors=[FieldError("file", message)],
            )
        return LabelledImages(np.concatenate(self._pixels), np.concatenate(self._labels))


def _suspect(images: LabelledImages, names: Sequence[str], model: Model) -> list[SuspectImage]:
    """Return the images that the model reads as another digit, with high confidence."""
    suspect = []
    for start in range(0, len(names), ANSWER_CHUNK):
        answers = model.answer(images.pixels[start : start + ANSWER_CHUNK])
        labels = images.labels[start : start + ANSWER_CHUNK]
        is_suspect = (answers.digits != labels) & (answers.confidences >= SUSPECT_CONFIDENCE)
        suspect += [
            SuspectImage(
                id=str(start + index),
                name=names[start + index],
                label=int(labels[index]),
                digit=int(answers.digits[index]),
                confidence=float(answers.confidences[index]),
            )
            for index in np.flatnonzero(is_suspect & answers.is_digit).tolist()
        ]
    return suspect
