"""Where a training runs its loop, and where it keeps its state.

What enters: what the loop needs. What leaves: its steps. This module does not know what they are
recorded for.
"""

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import nn
from torch.optim import Optimizer

from app.train import loop
from app.train.data import Digits
from app.train.hyperparameters import Hyperparameters
from app.train.loop import Loader, Step
from app.train.saved import InFile, Kept


class Broken(Exception):
    """The processes of one training lost one another: whoever started them starts them again."""


class Strategy(Kept, Protocol):
    """One process for the whole training, or several that share it."""

    def begin(self, wanted: Hyperparameters, corrections: Digits | None) -> None:
        """Hear what is to be trained, before anything of it is set up. Raises Broken."""

    def fit(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        train_loader: Loader,
        *,
        epochs: range,
        device: torch.device,
        done: int = 0,
    ) -> Iterator[Step]:
        """Train as `loop.fit` does. Raises Broken."""


class Here:
    """This process does all of it."""

    fit = staticmethod(loop.fit)

    def begin(self, wanted: Hyperparameters, corrections: Digits | None) -> None:
        """Nobody else has to know."""


class Alone(Here, InFile):
    """A process that nobody helps, and a file."""
