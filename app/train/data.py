"""MNIST in memory.

What enters: the folder that holds `MNIST/raw`. What leaves: digits as tensors, and batches of them
in the order in which a `DataLoader` would give them. This module does not know what is done with
a batch.
"""

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from filelock import FileLock
from torch import Tensor
from torchvision.datasets import MNIST

from app.net import to_input


class NoData(Exception):
    """MNIST is not there and cannot be had; the message says what was tried."""


@dataclass(frozen=True, slots=True)
class Digits:
    """Labelled images: pixels (N, 28, 28) uint8, ink light on dark; labels (N,) int64."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, places: Tensor) -> "Digits":
        """Give some of them."""
        return Digits(self.pixels[places], self.labels[places])

    def followed_by(self, others: "Digits | None") -> "Digits":
        """Give them with others after them, where there are some."""
        if not others:
            return self
        return Digits(
            torch.cat([self.pixels, others.pixels]), torch.cat([self.labels, others.labels])
        )


@dataclass(frozen=True, slots=True)
class Dataset:
    """The 60,000 training and the 10,000 test images, with the sha256 of the four arrays.

    `corrections`, where a training wants them, are learned from beside `train`; the digest is of
    them, too, where there are some.
    """

    train: Digits
    test: Digits
    digest: str
    corrections: Digits | None = None

    def with_corrections(self, corrections: Digits) -> "Dataset":
        """Give the same, to be trained with these, too."""
        digest = self.digest
        if len(corrections):
            arrays = (corrections.pixels.numpy(), corrections.labels.numpy())
            digest = hashlib.sha256(digest.encode() + b"".join(map(bytes, arrays))).hexdigest()
        return replace(self, digest=digest, corrections=corrections)


def load(root: Path) -> Dataset:
    """Read MNIST through torchvision, which unpacks the archives or downloads what is missing.

    Raises NoData.
    """
    try:
        _unpack(root)
        train, test = (MNIST(root, train=each) for each in (True, False))
    except (OSError, RuntimeError, AssertionError, ValueError) as error:
        raise NoData(f"MNIST could not be read from {root / 'MNIST' / 'raw'}: {error}") from error
    digest = hashlib.sha256()
    for array in (train.data, train.targets, test.data, test.targets):
        digest.update(array.numpy())
    return Dataset(
        Digits(train.data, train.targets), Digits(test.data, test.targets), digest.hexdigest()
    )


def _unpack(root: Path) -> None:
    """Unpack the archives beside themselves, each file whole or not at all."""
    raw, scratch = root / "MNIST" / "raw", root / ".unpacking"
    names = [Path(archive).stem for archive, _ in MNIST.resources]
    if all((raw / name).exists() for name in names):
        return
    raw.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".lock"):
        shutil.rmtree(scratch, ignore_errors=True)
        shutil.copytree(raw, scratch / "MNIST" / "raw", ignore=shutil.ignore_patterns(*names))
        MNIST(scratch, download=True)
        for name in names:
            (scratch / "MNIST" / "raw" / name).replace(raw / name)
        shutil.rmtree(scratch)


class Batches:
    """Shuffled batches, (B, 784) float32 inputs with (B,) int64 labels, anew at each iteration.

    The order is that of `DataLoader(dataset, batch_size, shuffle=True)` and the draws from torch's
    global random state are the same, so that a loop over either computes the same. It is quick
    because the data sits on the device, already normalised, and a batch is one gather.
    """

    def __init__(self, digits: Digits, batch_size: int, device: torch.device) -> None:
        self.inputs = to_input(digits.pixels).to(device)  # (N, 784) float32
        self.labels = digits.labels.to(device)
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.labels) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        _draw()  # a DataLoader draws a seed for its workers first, also where it has none
        shuffle = torch.Generator().manual_seed(_draw())
        order = torch.randperm(len(self.labels), generator=shuffle)
        for index in torch.split(order.to(self.labels.device), self.batch_size):
            yield self.inputs[index], self.labels[index]


def _draw() -> int:
    return int(torch.empty((), dtype=torch.int64).random_().item())
