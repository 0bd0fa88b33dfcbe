"""MNIST as tensors in memory, and shuffled batches in the order of a `DataLoader`."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from app.mnist import dataset as mnist
from app.mnist.files import LabelledImages
from app.net import SIDE
from app.torch_net import to_input
from app.train.plan.recipe_sizes import validation_images
from app.versions.card import TrainingData


@dataclass(frozen=True, slots=True)
class Digits:
    """Labelled images: pixels (N, 28, 28) uint8, light ink on dark; labels (N,) int64."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def subset(self, indices: Tensor) -> "Digits":
        """Return the digits at these indices."""
        return Digits(self.pixels[indices], self.labels[indices])

    def concat(self, others: "Digits | None") -> "Digits":
        """Return these digits followed by `others`, if there are any."""
        if not others:
            return self
        return Digits(
            torch.cat([self.pixels, others.pixels]), torch.cat([self.labels, others.labels])
        )


def no_pixels() -> Tensor:
    """Return the pixels of no images, (0, 28, 28) uint8."""
    return torch.empty((0, SIDE, SIDE), dtype=torch.uint8)


def no_digits() -> Digits:
    return Digits(no_pixels(), torch.empty(0, dtype=torch.int64))


@dataclass(frozen=True, slots=True)
class Corrections:
    """Corrections of a training: digits, and images without one, (M, 28, 28) uint8."""

    digits: Digits = field(default_factory=no_digits)
    non_digits: Tensor = field(default_factory=no_pixels)

    def __len__(self) -> int:
        return len(self.digits) + len(self.non_digits)

    def extend_digest(self, digest: str) -> str:
        """Return the sha256 of a digest and of the images without a digit, if there are any."""
        if not len(self.non_digits):
            return digest
        content = digest.encode() + bytes(self.non_digits.numpy())
        return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True, slots=True)
class Dataset:
    """The training and the test images, with the sha256 of the four arrays if they are MNIST's.

    A training with `corrections` uses them in addition to `train`. If there are any, the digest
    includes them. `validation` are training images that were held out: they are not in `train`.
    `sources` names the data sets of a job.
    """

    train: Digits
    test: Digits
    digest: str
    corrections: Corrections | None = None
    validation: Digits | None = None
    sources: TrainingData | None = None

    def hold_out(self, fraction: float, seed: int) -> "Dataset":
        """Return the same dataset, with this share of the training images held out.

        The seed draws them, and torch's global random state stays as it is.
        """
        count = validation_images(len(self.train), fraction)
        if not count:
            return self
        order = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(seed))
        held_out, remaining = order[:count].sort().values, order[count:].sort().values
        validation = self.train.subset(held_out)
        return replace(self, train=self.train.subset(remaining), validation=validation)

    def with_corrections(self, corrections: Corrections) -> "Dataset":
        """Return the same dataset with these corrections."""
        digest, digits = self.digest, corrections.digits
        if len(digits):
            arrays = (digits.pixels.numpy(), digits.labels.numpy())
            digest = hashlib.sha256(digest.encode() + b"".join(map(bytes, arrays))).hexdigest()
        return replace(self, digest=corrections.extend_digest(digest), corrections=corrections)


def load(root: Path) -> Dataset:
    """Return MNIST. Missing or damaged files are unpacked first, or downloaded.

    Raises DatasetUnavailable.
    """
    train, test, digest = mnist.load(root)
    return Dataset(_to_digits(train), _to_digits(test), digest)


def _to_digits(images: LabelledImages) -> Digits:
    pixels, labels = images
    return Digits(torch.from_numpy(pixels), torch.from_numpy(labels).long())


class Batches:
    """Batches of (B, 784) float32 inputs and (B,) int64 labels, shuffled for each iteration.

    The order, and the use of torch's global random state, are those of `DataLoader(dataset,
    batch_size, shuffle=True)`, so a loop over either computes the same. This class is faster,
    because the normalised data is on the device, and a batch is one gather.
    """

    def __init__(self, digits: Digits, batch_size: int, device: torch.device) -> None:
        self.inputs = to_input(digits.pixels).to(device)  # (N, 784) float32
        self.labels = digits.labels.to(device)
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.labels) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        _draw()  # a DataLoader first draws a seed for its workers, even if it has none
        shuffle = torch.Generator().manual_seed(_draw())
        order = torch.randperm(len(self.labels), generator=shuffle)
        for index in torch.split(order.to(self.labels.device), self.batch_size):
            # Faster than `inputs[index]`, with the same values.
            yield self.inputs.index_select(0, index), self.labels[index]


def _draw() -> int:
    return int(torch.empty((), dtype=torch.int64).random_().item())
