"""What each recipe makes of the hyperparameters.

What enters: a request's hyperparameters. What leaves: a network, its optimiser and its batches,
ready for the loop. This module does not know of jobs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import optim
from torch.optim import Optimizer

from app.net import MyNet
from app.train.data import Batches, Digits
from app.train.hyperparameters import Hyperparameters
from app.train.loop import Loader


@dataclass(frozen=True, slots=True)
class Setup:
    """What the loop needs."""

    model: MyNet
    optimizer: Optimizer
    batches: Loader


def documented(wanted: Hyperparameters, train: Digits, device: torch.device) -> Setup:
    """Set up the tutorial's training: plain MNIST, SGD with momentum."""
    model = MyNet().to(device)
    optimizer = optim.SGD(model.parameters(), lr=wanted.learning_rate, momentum=wanted.momentum)
    return Setup(model, optimizer, Batches(train, wanted.batch_size, device))


RECIPES: Final[dict[str, Callable[[Hyperparameters, Digits, torch.device], Setup]]] = {
    "documented": documented
}
