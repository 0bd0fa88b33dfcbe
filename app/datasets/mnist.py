"""MNIST's training and test images as the data sets `mnist` and `mnist-test`."""

from functools import lru_cache
from pathlib import Path
from typing import Final

from app.datasets import content
from app.datasets.records import MNIST, MNIST_TEST, Dataset
from app.errors import NotReady
from app.mnist.files import LabelledImages, read_images

PARTS: Final = {MNIST: "train", MNIST_TEST: "t10k"}


def record(name: str, data_dir: Path) -> Dataset:
    """Return the record of `mnist` or `mnist-test`, without counts before it is downloaded."""
    try:
        return _record(name, data_dir)
    except NotReady:
        return Dataset(id=name, name=name, digest=None, images=None, labels=None, created_at=None)


def images(name: str, data_dir: Path) -> LabelledImages:
    """Return the images of `mnist` or `mnist-test`. Raises NotReady before it is downloaded."""
    return read_images(data_dir, PARTS[name])


@lru_cache(4)
def _record(name: str, data_dir: Path) -> Dataset:
    found = images(name, data_dir)
    return Dataset(
        id=name,
        name=name,
        digest=content.digest(found),
        images=len(found.labels),
        labels=content.counts(found.labels),
        created_at=None,
    )
