"""Seconds of one epoch: the tutorial's own code, both loops of the documented recipe, and products.

The last losses of the loops are equal to the bit. Loading MNIST is not included.
"""

import time
from typing import Final, NamedTuple

import torch
from torch import nn, optim
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from app.net import LAYERS
from app.torch_net import MyNet
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.recipes import loop
from app.train.recipes.dataset import load
from app.train.recipes.loop import Fit
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


def readable() -> Epoch:
    """Train one epoch with the readable loop of the documented recipe."""
    return _documented(loop.fit)


def ours() -> Epoch:
    """Train one epoch with the loop that jobs with the documented recipe use."""
    return _documented(None)


def _documented(fit: Fit | None) -> Epoch:
    cpu = torch.device("cpu")
    digits = load(DATA).train
    torch.manual_seed(SEED)
    setup = RECIPES["documented"](Hyperparameters(batch_size=BATCH), digits, cpu)
    steps = (fit or setup.fit)(
        setup.model, setup.optimizer, setup.batches, epochs=range(1), device=cpu
    )
    started = now()
    for step in steps:
        last_loss = step.loss
    return since(started, last_loss)


def products() -> Epoch:
    """Compute the matrix products of an epoch alone, in tensors that are kept.

    For each layer: outputs, gradients of the weights and, except for the first, of the inputs.
    """
    layers = [
        (torch.randn(BATCH, inputs), torch.randn(outputs, inputs), torch.randn(BATCH, outputs))
        for outputs, inputs in LAYERS.values()
    ]
    results = [
        (torch.empty_like(y), torch.empty_like(w), torch.empty_like(x)) for x, w, y in layers
    ]
    started = now()
    for _ in range(IMAGES // BATCH):
        for (x, weight, gradient), (output, of_weight, of_input) in zip(
            layers, results, strict=True
        ):
            torch.mm(x, weight.t(), out=output)
            torch.mm(gradient.t(), x, out=of_weight)
            if x is not layers[0][0]:
                torch.mm(gradient, weight, out=of_input)
    return since(started, torch.zeros(()))


def now() -> tuple[float, float]:
    return time.process_time(), time.perf_counter()


def since(started: tuple[float, float], loss: torch.Tensor) -> Epoch:
    cpu, wall = (after - before for before, after in zip(started, now(), strict=True))
    return Epoch(cpu, wall, loss.item())
