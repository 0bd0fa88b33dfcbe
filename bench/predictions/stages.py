"""Microseconds of each stage of a small prediction, compared with the usual implementation.

Each stage is timed on its own, repeatedly. A service needs more than the sum, since the stages
compete for the processor's caches. Time in the network and the event loop is not included.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from timeit import repeat
from typing import Any, Final, NamedTuple

import torch
from starlette.datastructures import Headers, UploadFile
from starlette.formparsers import MultiPartParser
from threadpoolctl import threadpool_limits

from app.api.multipart import parse_single_file
from app.api.routes.predict import prediction_fields, prediction_json
from app.api.schemas.predictions import Prediction
from app.image.decode import open_image, to_grey
from app.image.mnist_format import detect_mnist_formats
from app.image.normalise import normalise
from app.image.png import read_plain_png
from app.predict.answers import BatchAnswers
from app.predict.model import Model, load_network
from app.torch_net import to_input, weights_of
from app.train.recipes.dataset import load as load_mnist
from tests.conftest import DATA
from tests.rigs.load.reference import load_bundled
from tests.rigs.load.uploads import CONTENT_TYPE, form, images

MAX_PIXELS: Final = 10**6
BATCH: Final = 32
TIMES: Final = 7


class Stage(NamedTuple):
    """A stage: the usual implementation and MyNet's, each for all images once."""

    name: str
    usual: Callable[[], object] | None
    ours: Callable[[], object]


def main() -> Iterator[str]:
    """Measure, and yield the lines of the report."""
    torch.set_num_threads(1)
    threadpool_limits(1)
    uploads, _ = images()
    yield "## Stages of a small prediction (`python -m bench stages`)"
    yield ""
    yield (
        f"{len(uploads):,} MNIST images as PNGs of 28×28, best of {TIMES} rounds, one thread; "
        "microseconds an image."
    )
    yield ""
    yield "| stage | the usual way | ours | ratio |"
    yield "|---|---|---|---|"
    for stage in stages(uploads):
        ours = microseconds(stage.ours, len(uploads))
        usual = stage.usual and microseconds(stage.usual, len(uploads))
        cells = f"{usual:.1f} | {ours:.1f} | {usual / ours:.1f} ×" if usual else f"– | {ours:.1f} |"
        yield f"| {stage.name} | {cells} |"


def microseconds(work: Callable[[], object], images: int) -> float:
    return 1e6 * min(repeat(work, number=1, repeat=TIMES)) / images


def stages(uploads: list[bytes]) -> Iterator[Stage]:
    bodies = [form(upload).partition(b"\r\n\r\n")[2] for upload in uploads]
    yield Stage(
        "form (Starlette's parser)",
        lambda: asyncio.run(_parse(bodies)),
        lambda: [parse_single_file(body, CONTENT_TYPE, "file") for body in bodies],
    )
    yield Stage(
        "PNG (Pillow, any format)",
        lambda: [to_grey(open_image(upload, MAX_PIXELS)) for upload in uploads],
        lambda: [read_plain_png(upload, MAX_PIXELS) for upload in uploads],
    )
    pixels = load_mnist(DATA).test.pixels[: len(uploads)]
    greys = list(pixels.numpy())
    yield Stage(
        "normalise, alone (in MNIST's form already)", None, lambda: [*map(normalise, greys)]
    )
    chunks = [chunk.numpy() for chunk in pixels.split(BATCH)]
    yield Stage(f"normalise, {BATCH} together", None, lambda: [*map(detect_mnist_formats, chunks)])
    net = load_bundled()
    model = Model(1, load_network(weights_of(net), "cpu"), 0.0)
    yield Stage(
        "MyNet, alone (as the tutorial calls it)",
        lambda: [_forward(net, image[None]) for image in pixels],
        lambda: [model.answer(image[None]) for image in greys],
    )
    yield Stage(
        f"MyNet, {BATCH} together (as the tutorial calls it)",
        lambda: [_forward(net, chunk) for chunk in pixels.split(BATCH)],
        lambda: [model.answer(chunk) for chunk in chunks],
    )
    batches = [model.answer(chunk) for chunk in chunks]
    yield Stage(
        "JSON (through a checked model)",
        lambda: [
            Prediction(**prediction_fields(answer)).model_dump_json()
            for answers in batches
            for answer in answers
        ],
        lambda: [_json(answers) for answers in batches],
    )


def _json(answers: BatchAnswers) -> list[bytes]:
    fresh = answers.select(list(range(len(answers))))  # an object keeps the numbers that it wrote
    return [prediction_json(fresh, row) for row in range(len(fresh))]


def _forward(net: torch.nn.Module, pixels: torch.Tensor) -> list[Any]:
    with torch.no_grad():
        probabilities = net(to_input(pixels)).softmax(1)
    return [probabilities.argmax(1).tolist(), probabilities.tolist()]


async def _parse(bodies: list[bytes]) -> None:
    for body in bodies:
        parsed = await MultiPartParser(
            Headers({"content-type": CONTENT_TYPE.decode()}), _stream(body)
        ).parse()
        file = parsed["file"]
        assert isinstance(file, UploadFile)
        await file.read()
        await parsed.close()


async def _stream(body: bytes) -> AsyncIterator[bytes]:
    yield body
