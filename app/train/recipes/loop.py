"""Training loop of the tutorial, call by call.

The caller iterates over the steps, and records, evaluates, saves and stops between them.
"""

from collections.abc import Iterable, Iterator, Sized
from itertools import islice
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class Loader(Iterable[tuple[Tensor, Tensor]], Sized, Protocol):
    """Batches of inputs (B, 784) float32 and labels (B,) int64, as a `DataLoader` yields them."""


class Step(NamedTuple):
    """A finished batch. `epoch` counts from 0, `batch` from 1; `loss` is a scalar on the device."""

    epoch: int
    batch: int
    batches: int
    loss: Tensor

    @property
    def is_logged(self) -> bool:
        """Return whether the tutorial prints this batch: every 100, and the last of an epoch."""
        return self.batch % 100 == 0 or self.ends_epoch

    @property
    def ends_epoch(self) -> bool:
        return self.batch == self.batches


class Fit(Protocol):
    """A training loop: `fit`, or one that computes the same."""

    def __call__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        train_loader: Loader,
        *,
        epochs: range,
        device: torch.device,
        done: int = 0,
    ) -> Iterator[Step]: ...


def fit(
    model: nn.Module,
    optimizer: Optimizer,
    train_loader: Loader,
    *,
    epochs: range,
    device: torch.device,
    done: int = 0,
) -> Iterator[Step]:
    """Train `model` in place for these epochs, and yield a step after each batch.

    A resumed training has finished `done` batches of its first epoch. They are drawn again and
    skipped, so that the following batches are the same.
    """
    criterion = nn.CrossEntropyLoss()
    for epoch in epochs:
        first = done if epoch == epochs.start else 0
        for batch_idx, (x, target) in enumerate(islice(train_loader, first, None), first):
            optimizer.zero_grad()
            x, target = x.to(device), target.to(device)
            out = model(x)
            loss = criterion(out, target)
            loss.backward()
            optimizer.step()
            yield Step(epoch, batch_idx + 1, len(train_loader), loss.detach())
