"""The documented loop: the tutorial's, call by call.

What enters: a network, its optimiser and batches. What leaves: one `Step` a batch; the network and
the optimiser are changed in place. Who iterates records, evaluates, saves and stops: this module
knows nothing of jobs, files or evaluation.
"""

from collections.abc import Iterable, Iterator, Sized
from itertools import islice
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class Loader(Iterable[tuple[Tensor, Tensor]], Sized, Protocol):
    """Batches of inputs (B, 784) float32 and labels (B,) int64, as a `DataLoader` gives them."""


class Step(NamedTuple):
    """One batch done. `epoch` counts from 0, `batch` from 1; `loss` is a scalar on the device."""

    epoch: int
    batch: int
    batches: int
    loss: Tensor

    @property
    def is_logged(self) -> bool:
        """The tutorial prints every 100 batches and at the end of an epoch."""
        return self.batch % 100 == 0 or self.ends_epoch

    @property
    def ends_epoch(self) -> bool:
        return self.batch == self.batches


def fit(
    model: nn.Module,
    optimizer: Optimizer,
    train_loader: Loader,
    *,
    epochs: range,
    device: torch.device,
    done: int = 0,
) -> Iterator[Step]:
    """Train `model` for the given epochs.

    A resumed training starts at a later epoch, of which `done` batches are done: they are drawn
    again and passed over, so that those that follow are the same.
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
