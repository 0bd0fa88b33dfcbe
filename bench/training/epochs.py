"""Seconds of one epoch of the tutorial's own code, and of one epoch of the documented recipe.

The last losses are equal to the bit. Loading MNIST is not included.
"""

import time
from typing import Final, NamedTuple

import torch
from torch import nn, optim
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from app.net import MyNet
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.recipes.dataset import load
from app.train.recipes.loop import fit
from app.train.recipes.recipes import RECIPES
from tests.conftest import DATA

SEED: Final = 1
IMAGES: Final = 60_000
BATCH: Final = 100


class Epoch(NamedTuple):
    """Seconds of the CPU and of the wall clock, and the last loss."""

    cpu: float
    wall: float
    loss: float


def tutorial() -> Epoch:
    """Train one epoch with the tutorial's calls."""
    trans = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (1.0,))])
    train_set = datasets.MNIST(root=DATA, train=True, transform=trans)
    train_loader = DataLoader(dataset=train_set, batch_size=BATCH, shuffle=True)
    torch.manual_seed(SEED)
    model = MyNet()
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    started = now()
    for x, target in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(x), target)
        loss.backward()
        optimizer.step()
    return since(started, loss)


def ours() -> Epoch:
    """Train one epoch with the documented recipe."""
    cpu = torch.device("cpu")
    digits = load(DATA).train
    torch.manual_seed(SEED)
    setup = RECIPES["documented"](Hyperparameters(batch_size=BATCH), digits, cpu)
    started = now()
    for step in fit(setup.model, setup.optimizer, setup.batches, epochs=range(1), device=cpu):
        loss = step.loss
    return since(started, loss)


def now() -> tuple[float, float]:
    return time.process_time(), time.perf_counter()


def since(started: tuple[float, float], loss: torch.Tensor) -> Epoch:
    cpu, wall = (after - before for before, after in zip(started, now(), strict=True))
    return Epoch(cpu, wall, loss.item())
