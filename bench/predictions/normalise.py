"""Time of each stage of normalisation, for images of several kinds; decoding is not included."""

from collections.abc import Callable, Iterator
from io import BytesIO
from timeit import repeat
from typing import Final, TypeVar

import cv2
import numpy as np
from PIL import Image

from app.image import normalise as stages
from app.image.decode import to_grey
from app.image.fit import to_mnist
from app.image.ink import find_ink
from app.image.normalise import MAX_WORK_SIDE, normalise
from app.train.recipes.dataset import load as load_mnist
from tests.conftest import DATA
from tools.pictures import Pixels, drawing, photo

IMAGES: Final = 20
RECOGNISED: Final = "20"
TIMES: Final = 7
T = TypeVar("T")


def main() -> Iterator[str]:
    """Measure, and yield the lines of the report."""
    yield "## Normalisation (`python -m bench normalise`)"
    yield ""
    yield (
        f"{IMAGES} images of each kind, decoded already, best of {TIMES} rounds, one thread; "
        "microseconds an image."
    )
    yield ""
    yield "| images | reduce | find the ink | cut out the digit | MNIST's form | all | goal |"
    yield "|---|---|---|---|---|---|---|"
    for name, images, goal in kinds():
        cells = (
            [f"{duration:,.0f}" for duration in time_stages(images)]
            if goal != RECOGNISED
            else ["–"] * 4
        )
        total = microseconds(normalise, images)
        yield f"| {name} | {' | '.join(cells)} | **{total:,.0f}** | {goal} |"


def kinds() -> Iterator[tuple[str, list[Pixels], str]]:
    """Yield what is measured, with the goal in microseconds."""
    random, test = np.random.default_rng(1), load_mnist(DATA).test
    digits = list(test.pixels[:IMAGES].numpy())
    yield "MNIST's own form", digits, RECOGNISED
    for side in (8, 20, 40):
        size = side, side
        small = [255 - cv2.resize(digit, size, interpolation=cv2.INTER_AREA) for digit in digits]
        yield f"{side} × {side}, dark on light", small, "150"
    drawn = [_grey(drawing(digit, random)) for digit in digits]
    yield "drawings of 80 to 400 pixels", drawn, ""
    photos = [cv2.resize(_grey(photo(digit, random)), (4000, 3000)) for digit in digits[:4]]
    yield "photos of 12 megapixels", photos, "15,000"


def time_stages(images: list[Pixels]) -> Iterator[float]:
    """Time each step on what the one before gives."""
    reduced = [stages._reduce(image, -(-max(image.shape) // MAX_WORK_SIDE)) for image in images]
    inks = [ink for ink in map(find_ink, reduced) if ink]
    digits = [stages._cut_out(ink)[0] for ink in inks]
    yield microseconds(
        lambda image: stages._reduce(image, -(-max(image.shape) // MAX_WORK_SIDE)), images
    )
    yield microseconds(find_ink, reduced)
    yield microseconds(stages._cut_out, inks)
    yield microseconds(to_mnist, digits)


def microseconds(work: Callable[[T], object], inputs: list[T]) -> float:
    seconds = repeat(lambda: [work(item) for item in inputs], number=1, repeat=TIMES)
    return 1e6 * min(seconds) / len(inputs)


def _grey(file: bytes) -> Pixels:
    picture = Image.open(BytesIO(file))
    return to_grey(picture).pixels
