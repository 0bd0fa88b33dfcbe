"""`python -m tools.other_datasets FILE [FILE …]`: measure a checkpoint on other data, for its card.

The card gets a field `elsewhere`: the share of other data sets' digits that the network reads
right, and the share of pictures without a digit that it takes for one. The training used none of
these images: the digits of scikit-learn's `load_digits`, digits, letters and doodles in forms that
no training draws (`tools/unseen_forms.py`), Fashion-MNIST's first test images (Debian's package
dataset-fashion-mnist), letters in the installed fonts, textures with the spectra of photographs,
and paper and pixels without ink. Further files are trainings with other seeds: the card gets the
mean and the standard deviation of their accuracy.
"""

import gzip
import string
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from app.errors import ServiceError
from app.image.normalise import normalise
from app.predict.answers import Answer
from app.predict.model import Model
from app.predict.numpy_net import NumpyNet
from app.train.evaluation.metrics import calibration_error
from app.train.recipes.dataset import Digits
from app.train.recipes.dataset import load as load_mnist
from app.train.recipes.synthetic.digit_forms import Forms
from app.train.recipes.synthetic.doodles import draw_paper
from app.train.recipes.synthetic.hand import write
from app.train.recipes.synthetic.nothing import draw_nothing
from app.versions import checkpoint
from tests.conftest import DATA
from tools.labelled_images import eight_by_eight
from tools.pictures import Pixels
from tools.unseen_forms import UNSEEN_DOODLES, UNSEEN_LETTERS, draw_unseen_digits

FASHION: Final = Path("/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz")
FONTS: Final = Path("/usr/share/fonts/truetype")
# Letters that one sign alone cannot tell from a digit.
DIGIT_LIKE: Final = set("olIOSZBqg")
IMAGES: Final = 5000
TEXTURES: Final = 1500
DRAWN: Final = 2000


def main() -> None:
    path, *other_seeds = map(Path, sys.argv[1:])
    card, weights = checkpoint.read_card(path), checkpoint.read_weights(path)
    model = Model(1, NumpyNet(weights), card.energy_threshold, card.temperature)
    shares = dict(measure(model)) | (_of_seeds([path, *other_seeds]) if other_seeds else {})
    shares = {name: round(share, 4) for name, share in shares.items()}
    checkpoint.write(path, weights, card.model_copy(update={"other_datasets": shares}))
    for name, share in shares.items():
        print(f"{name}: {100 * share:.2f} %")


def _of_seeds(paths: list[Path]) -> dict[str, float]:
    """Return the mean and the standard deviation of the test accuracy of trainings."""
    cards = [checkpoint.read_card(path) for path in paths]
    seeds = sorted(card.hyperparameters["seed"] for card in cards if card.hyperparameters)
    accuracies = [card.test_accuracy for card in cards]
    name = f"MNIST test, seeds {', '.join(map(str, seeds))}"
    return {
        f"{name}: mean right": float(np.mean(accuracies)),
        f"{name}: standard deviation": float(np.std(accuracies, ddof=1)),
    }


def measure(model: Model) -> Iterator[tuple[str, float]]:
    """Yield a name and a share, for each source that is there."""
    digits, labels = eight_by_eight()
    for name, images in (("light on dark", digits), ("dark on light", 255 - digits)):
        right = _right(model, images, labels)
        recalls = [float(right[labels == digit].mean()) for digit in range(10)]
        yield f"load_digits, {name}: right", float(right.mean())
        yield f"load_digits, {name}: lowest recall of a digit", min(recalls)
        yield f"load_digits, {name}: highest recall of a digit", max(recalls)
    unseen = draw_unseen_digits(np.random.default_rng(98), 2 * DRAWN)
    yield from _measure_unseen(model, unseen)
    yield "MNIST test: accepted", _acceptance_rate(model, load_mnist(DATA).test.pixels.numpy())
    for name, draw in OTHER_IMAGES.items():
        if (name, FASHION.exists()) != ("Fashion-MNIST", False):
            yield f"{name}: accepted", _acceptance_rate(model, draw())
    pixels = np.stack(list(nothing()))
    yield "pixels of nothing: accepted", float(np.mean([a.is_digit for a in model.answer(pixels)]))


def _measure_unseen(model: Model, digits: Digits) -> Iterator[tuple[str, float]]:
    logits, labels = model.network.logits(digits.pixels.numpy()), digits.labels.numpy()
    right = logits.argmax(1) == labels
    recalls = [float(right[labels == digit].mean()) for digit in range(10)]
    yield "digits in unseen forms: right", float(right.mean())
    yield "digits in unseen forms: recall of 1", recalls[1]
    yield "digits in unseen forms: lowest recall of a digit", min(recalls)
    error = calibration_error(logits / model.temperature, labels)
    yield "digits in unseen forms: calibration error", error
    accepted = [answer.is_digit for answer in model.answer(digits.pixels.numpy())]
    yield "digits in unseen forms: accepted", float(np.mean(accepted))


def fashion() -> Iterator[Pixels]:
    content = gzip.decompress(FASHION.read_bytes())
    yield from np.frombuffer(content, np.uint8, offset=16).reshape(-1, 28, 28)[:IMAGES]


def letters() -> Iterator[Pixels]:
    """Every letter but those like digits, dark on light, in every font."""
    for file in sorted(FONTS.rglob("*.ttf")):
        font = ImageFont.truetype(file, 44)
        for letter in string.ascii_letters:
            if letter not in DIGIT_LIKE:
                picture = Image.new("L", (64, 64), 255)
                ImageDraw.Draw(picture).text((32, 32), letter, 0, font, "mm")
                yield np.asarray(picture)


def handwritten_letters() -> Iterator[Pixels]:
    return _written(UNSEEN_LETTERS)


def doodles() -> Iterator[Pixels]:
    return _written(UNSEEN_DOODLES)


def _written(forms: Forms) -> Iterator[Pixels]:
    """Yield images of forms that no training draws, dark on light, all equally often."""
    random = np.random.default_rng(97)
    for index in range(DRAWN):
        yield 255 - write(random, list(forms.values())[index % len(forms)])


def textures() -> Iterator[Pixels]:
    """32 × 32, of the spectra that photographs have (Field 1987: power falls as 1/f²)."""
    random, places = np.random.default_rng(99), np.fft.fftfreq(32)
    frequency = np.maximum(np.hypot(places[:, None], places), 1 / 32)
    for _ in range(TEXTURES):
        spectrum = frequency ** -random.uniform(0.8, 2.2)
        phases = np.exp(2j * np.pi * random.random((32, 32)))
        field = np.fft.ifft2(spectrum * phases).real
        yield ((field - field.min()) / np.ptp(field) * 255).astype(np.uint8)


def squared_paper() -> Iterator[Pixels]:
    """Yield squared or ruled paper without ink, dark on light."""
    random = np.random.default_rng(96)
    for _ in range(DRAWN):
        yield 255 - draw_paper(random)


def nothing() -> Iterator[Pixels]:
    """Yield 28×28 pixels without ink, among them all constant tones."""
    random = np.random.default_rng(95)
    yield from (np.full((28, 28), tone, np.uint8) for tone in range(256))
    yield from (draw_nothing(random) for _ in range(DRAWN))


OTHER_IMAGES: Final[dict[str, Callable[[], Iterator[Pixels]]]] = {
    "textures": textures,
    "Fashion-MNIST": fashion,
    "letters": letters,
    "handwritten letters": handwritten_letters,
    "doodles": doodles,
    "squared paper": squared_paper,
}


def _right(model: Model, images: Iterable[Pixels], labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return for which images the answer is the label: (N,)."""
    predicted = [answer and answer.digit for answer in _answers(model, images)]
    return np.array([digit == label for digit, label in zip(predicted, labels, strict=True)])


def _acceptance_rate(model: Model, images: Iterable[Pixels]) -> float:
    return float(np.mean([bool(a and a.is_digit) for a in _answers(model, images)]))


def _answers(model: Model, images: Iterable[Pixels]) -> Iterator[Answer | None]:
    """Yield the answers, as a service would; None if normalisation refuses the image."""
    for image in images:
        pixels = normalised(image)
        if pixels is None:
            yield None
        else:
            yield from model.answer(pixels[None])


def normalised(image: Pixels) -> Pixels | None:
    """Return what normalisation gives, or None if it refuses the image."""
    try:
        return normalise(np.ascontiguousarray(image)).pixels
    except ServiceError:
        return None


if __name__ == "__main__":
    main()
