"""`python -m tools.labelled_images FOLDER`: labelled images of many sources, for `tools.accuracy`.

It writes the files, and a `manifest.csv` with their labels and sources. The sources are MNIST's
test digits as `tools.pictures` makes them, scikit-learn's `load_digits` (8 × 8, Alpaydin, Kaynak
1998) in both polarities, and the test digits themselves.
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

from app.train.recipes.dataset import load as load_mnist
from tests.conftest import DATA, png
from tools.pictures import SOURCES, Pixels

IMAGES_PER_SOURCE: Final = 500
MANIFEST: Final = "manifest.csv"


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / MANIFEST).open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "source"])
        for number, (source, label, content) in enumerate(uploads(IMAGES_PER_SOURCE)):
            extension = "png" if content.startswith(b"\x89PNG") else "jpg"
            path = f"{source}-{number}.{extension}"
            (folder / path).write_bytes(content)
            rows.writerow([path, label, source])


def uploads(per_source: int) -> Iterator[tuple[str, int, bytes]]:
    """Yield source, label and file, `per_source` of each source if there are as many."""
    random, test = np.random.default_rng(1), load_mnist(DATA).test
    digits, labels = test.pixels.numpy(), test.labels.tolist()
    for digit, label in zip(digits[:per_source], labels, strict=False):
        yield "mnist", label, png(digit)
    for source, draw in SOURCES.items():
        for index in random.choice(len(digits), per_source, replace=False):
            yield source, labels[index], draw(digits[index], random)
    for pixels, label in zip(*eight_by_eight(), strict=True):
        yield "load_digits", int(label), png(pixels)
        yield "load_digits, dark on light", int(label), png(255 - pixels)


def eight_by_eight() -> tuple[Pixels, NDArray[np.int64]]:
    """Return scikit-learn's digits, (1797, 8, 8) uint8 light on dark, and their labels."""
    images, labels = load_digits(return_X_y=True)
    return (images.reshape(-1, 8, 8) * 255 / 16).round().astype(np.uint8), labels


if __name__ == "__main__":
    main()
