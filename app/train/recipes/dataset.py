"""MNIST as tensors in memory, and shuffled batches in the order of a `DataLoader`."""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path
from typing import Final

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor

from app import mnist
from app.atomic_files import atomic_replace, make_folder, remove_temporary_files
from app.net import to_input

RAW: Final = Path("MNIST/raw")
log = logging.getLogger(__name__)


class DatasetUnavailable(Exception):
    """MNIST is missing and could not be downloaded."""


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


@dataclass(frozen=True, slots=True)
class Dataset:
    """The 60,000 training and the 10,000 test images, with the sha256 of the four arrays.

    A training with `corrections` uses them in addition to `train`. If there are any, the digest
    includes them.
    """

    train: Digits
    test: Digits
    digest: str
    corrections: Digits | None = None

    def with_corrections(self, corrections: Digits) -> "Dataset":
        """Return the same dataset with these corrections."""
        digest = self.digest
        if len(corrections):
            arrays = (corrections.pixels.numpy(), corrections.labels.numpy())
            digest = hashlib.sha256(digest.encode() + b"".join(map(bytes, arrays))).hexdigest()
        return replace(self, digest=digest, corrections=corrections)


def load(root: Path) -> Dataset:
    """Return MNIST. Missing or damaged files are unpacked first, or downloaded.

    Raises DatasetUnavailable.
    """
    try:
        train, test = (_read_digits(root, part) for part in ("train", "t10k"))
    except (OSError, RuntimeError, ValueError) as error:
        raise DatasetUnavailable(f"MNIST could not be read from {root / RAW}: {error}") from error
    digest = hashlib.sha256()
    for array in (train.pixels, train.labels, test.pixels, test.labels):
        digest.update(array.numpy().data)
    return Dataset(train, test, digest.hexdigest())


def _read_digits(root: Path, part: str) -> Digits:
    names = (f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte")
    pixels, labels = mnist.pair(*(_read(root, name) for name in names))
    return Digits(torch.from_numpy(pixels), torch.from_numpy(labels).long())


def _read(root: Path, name: str) -> NDArray[np.uint8]:
    """Return the content of a file. A missing or damaged file is restored first."""
    path = root / RAW / name
    with suppress(FileNotFoundError, ValueError):
        return mnist.read_unpacked(path)
    make_folder(path.parent)
    with FileLock(root / ".lock"):
        remove_temporary_files(path.parent)
        try:
            return mnist.read_unpacked(path)  # another process has restored it
        except FileNotFoundError:
            pass
        except ValueError as error:
            log.warning("MNIST file is damaged, restoring: file=%s error=%s", name, error)
        _restore(path)
    return mnist.read_unpacked(path)


def _restore(path: Path) -> None:
    """Unpack a file. A missing or damaged archive is downloaded first."""
    try:
        content = mnist.unpack(path)
    except (FileNotFoundError, ValueError):
        _download(mnist.archive_of(path))
        content = mnist.unpack(path)
    with atomic_replace(path) as temporary:
        temporary.write_bytes(content)


def _download(archive: Path) -> None:
    """Download an archive through torchvision. Raises RuntimeError."""
    # The import takes over two seconds of a core, so only a missing archive triggers it.
    from torchvision.datasets import MNIST
    from torchvision.datasets.utils import download_url

    md5 = dict(MNIST.resources)[archive.name]
    failures = []
    for mirror_url in MNIST.mirrors:
        try:
            with atomic_replace(archive) as temporary:
                download_url(f"{mirror_url}{archive.name}", temporary.parent, temporary.name, md5)
            return
        except (OSError, RuntimeError, HTTPException) as error:
            failures.append(f"; {mirror_url} failed: {error}")
    raise RuntimeError(
        f"{archive.name} is missing or damaged{''.join(failures)}. Download it to {archive.parent}."
    )


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
            yield self.inputs[index], self.labels[index]


def _draw() -> int:
    return int(torch.empty((), dtype=torch.int64).random_().item())
