"""An epoch of the documented loop beside an epoch of the tutorial's own code, one thread each.

The tutorial reads each image through torchvision's transforms, image by image, in a `DataLoader`;
ours gathers batches from memory. Both compute the same losses, and the run checks that they do.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import torch
from torch import nn, optim
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from app.net import MyNet
from app.train.data import load
from app.train.hyperparameters import Hyperparameters
from app.train.loop import fit
from app.train.recipes import RECIPES

DATA = Path(__file__).parents[1] / "data"
SEED = 1
ROUNDS = 5


def tutorial() -> tuple[float, float]:
    """Train one epoch with the tutorial's calls: seconds, and the last loss."""
    trans = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (1.0,))])
    train_set = datasets.MNIST(root=DATA, train=True, transform=trans)
    train_loader = DataLoader(dataset=train_set, batch_size=100, shuffle=True)
    torch.manual_seed(SEED)
    model = MyNet()
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    started = time.process_time()
    for x, target in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(x), target)
        loss.backward()
        optimizer.step()
    return time.process_time() - started, loss.item()


def ours() -> tuple[float, float]:
    """Train one epoch with the documented recipe: seconds, and the last loss."""
    cpu = torch.device("cpu")
    digits = load(DATA).train
    torch.manual_seed(SEED)
    setup = RECIPES["documented"](Hyperparameters(), digits, cpu)
    started = time.process_time()
    for step in fit(setup.model, setup.optimizer, setup.batches, epochs=range(1), device=cpu):
        loss = step.loss
    return time.process_time() - started, loss.item()


def main() -> Iterator[str]:
    """Measure, and give the lines of the report. Loading MNIST counts on neither side."""
    torch.set_num_threads(1)
    load(DATA)
    seconds: dict[str, list[float]] = {"tutorial": [], "ours": []}
    losses = set()
    for _ in range(ROUNDS):
        for name, epoch in (("tutorial", tutorial), ("ours", ours)):
            duration, loss = epoch()
            seconds[name].append(duration)
            losses.add(loss)
    if len(losses) != 1:
        raise AssertionError(f"the two loops computed different losses: {losses}")
    ratios = [a / b for a, b in zip(seconds["tutorial"], seconds["ours"], strict=True)]
    yield "## One epoch of training (`python -m bench train`)"
    yield ""
    yield (
        f"60,000 images, batch 100, one thread, CPU; {ROUNDS} rounds, interleaved. "
        "The last loss is the same to the bit."
    )
    yield ""
    yield "| | median CPU seconds | all rounds |"
    yield "|---|---|---|"
    for name, label in (("tutorial", "the tutorial's code"), ("ours", "our loop")):
        each = ", ".join(f"{value:.2f}" for value in seconds[name])
        yield f"| {label} | {median(seconds[name]):.2f} | {each} |"
    yield ""
    each = ", ".join(f"{ratio:.1f}" for ratio in ratios)
    yield f"**{median(ratios):.1f} × as fast** (round by round: {each}; goal: at least 4 ×)."
