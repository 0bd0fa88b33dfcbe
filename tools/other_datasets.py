"""`python -m tools.other_datasets FILE`: measure a checkpoint on other data sets, for its card.

The card gets a field `elsewhere`: the share of other data sets' digits that the network reads
right, and the share of pictures without a digit that it takes for one. The training used none of
these images: the digits of scikit-learn's `load_digits`, Fashion-MNIST's first test images
(Debian's package dataset-fashion-mnist), letters in the installed fonts, and textures with the
spectra of photographs.
"""

import gzip
import string
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from app.errors import ServiceError
from app.image.normalise import normalise
from app.net import MyNet
from app.predict.model import Answer, Model
from app.train.recipes.dataset import load as load_mnist
from app.versions import checkpoint
from tests.conftest import DATA
from tools.labelled_images import eight_by_eight
from tools.pictures import Pixels

FASHION: Final = Path("/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz")
FONTS: Final = Path("/usr/share/fonts/truetype")
# Letters that one sign alone cannot tell from a digit.
DIGIT_LIKE: Final = set("olIOSZBqg")
IMAGES: Final = 5000
TEXTURES: Final = 1500


def main() -> None:
    path = Path(sys.argv[1])
    card, weights = checkpoint.read_card(path), checkpoint.read_weights(path)
    net = MyNet()
    net.load_state_dict(weights)
    model = Model(1, net, card.energy_threshold, torch.device("cpu"), card.temperature)
    shares = {name: round(share, 4) for name, share in measure(model)}
    checkpoint.write(path, weights, card.model_copy(update={"other_datasets": shares}))
    for name, share in shares.items():
        print(f"{name}: {100 * share:.2f} %")


def measure(model: Model) -> Iterator[tuple[str, float]]:
    """Yield a name and a share, for each source that is there."""
    digits, labels = eight_by_eight()
    yield "load_digits, light on dark: right", _accuracy(model, digits, labels)
    yield "load_digits, dark on light: right", _accuracy(model, 255 - digits, labels)
    yield "MNIST test: accepted", _acceptance_rate(model, load_mnist(DATA).test.pixels.numpy())
    sources: dict[str, Callable[[], Iterable[Pixels]]] = {"textures": textures}
    if FASHION.exists():
        sources["Fashion-MNIST"] = fashion
    if FONTS.exists():
        sources["letters"] = letters
    for name, draw in sources.items():
        yield f"{name}: accepted", _acceptance_rate(model, draw())


def fashion() -> Iterable[Pixels]:
    content = gzip.decompress(FASHION.read_bytes())
    return np.frombuffer(content, np.uint8, offset=16).reshape(-1, 28, 28)[:IMAGES]


def letters() -> Iterator[Pixels]:
    """Every letter but those like digits, dark on light, in every font."""
    for file in sorted(FONTS.rglob("*.ttf")):
        font = ImageFont.truetype(file, 44)
        for letter in string.ascii_letters:
            if letter not in DIGIT_LIKE:
                picture = Image.new("L", (64, 64), 255)
                ImageDraw.Draw(picture).text((32, 32), letter, 0, font, "mm")
                yield np.asarray(picture)


def textures() -> Iterator[Pixels]:
    """32 × 32, of the spectra that photographs have (Field 1987: power falls as 1/f²)."""
    random, places = np.random.default_rng(99), np.fft.fftfreq(32)
    frequency = np.maximum(np.hypot(places[:, None], places), 1 / 32)
    for _ in range(TEXTURES):
        spectrum = frequency ** -random.uniform(0.8, 2.2)
        phases = np.exp(2j * np.pi * random.random((32, 32)))
        field = np.fft.ifft2(spectrum * phases).real
        yield ((field - field.min()) / np.ptp(field) * 255).astype(np.uint8)


def _accuracy(model: Model, images: Iterable[Pixels], labels: NDArray[np.int64]) -> float:
    predicted = [answer and answer.digit for answer in _answers(model, images)]
    return float(np.mean([digit == label for digit, label in zip(predicted, labels, strict=True)]))


def _acceptance_rate(model: Model, images: Iterable[Pixels]) -> float:
    return float(np.mean([bool(a and a.is_digit) for a in _answers(model, images)]))


def _answers(model: Model, images: Iterable[Pixels]) -> Iterator[Answer | None]:
    """Yield the answers, as a service would; None where it refuses."""
    for image in images:
        try:
            pixels = normalise(np.ascontiguousarray(image)).pixels
        except ServiceError:
            yield None
        else:
            yield from model.answer(pixels[None])


if __name__ == "__main__":
    main()
