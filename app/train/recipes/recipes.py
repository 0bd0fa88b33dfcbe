"""What each recipe makes of the hyperparameters.

What enters: a request's hyperparameters. What leaves: a network, its optimiser and its batches,
ready for the loop. This module does not know of jobs.
"""

import math
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
import torch
from torch import Tensor, nn, optim
from torch.optim import Optimizer

from app.net import MyNet
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.recipes.augmentation import AugmentedBatches
from app.train.recipes.dataset import Batches, Digits
from app.train.recipes.ema import EMAModel
from app.train.recipes.loop import Loader
from app.train.recipes.synthetic.digits import draw_digits
from app.train.recipes.synthetic.negatives import draw_negatives

# Of the robust recipe: the schedule's first steps, digits drawn, and pictures of none.
WARM_UP: Final = 600
SYNTHETIC_DIGITS: Final = 16_000
NEGATIVES: Final = 20_000
DECAY: Final = 2e-5
HELD_OUT: Final = 5_000
SPLIT_SEED: Final = 1998


@dataclass(frozen=True, slots=True)
class TrainingSetup:
    """What the loop needs, and what follows it.

    `model` is what is trained and saved, `net` what becomes a version of it. `held_out` are the
    training images that the recipe keeps back, to fit what depends on unseen digits; with none, the
    temperature is 1.
    """

    model: nn.Module
    net: MyNet
    optimizer: Optimizer
    batches: Loader
    held_out: Digits | None = None


def documented(
    hyperparameters: Hyperparameters,
    train: Digits,
    device: torch.device,
    corrections: Digits | None = None,
) -> TrainingSetup:
    """Set up the tutorial's training: plain MNIST, and what was corrected; SGD with momentum."""
    net = MyNet().to(device)
    optimizer = optim.SGD(
        net.parameters(), lr=hyperparameters.learning_rate, momentum=hyperparameters.momentum
    )
    batches = Batches(train.concat(corrections), hyperparameters.batch_size, device)
    return TrainingSetup(net, net, optimizer, batches)


def robust(
    hyperparameters: Hyperparameters,
    train: Digits,
    device: torch.device,
    corrections: Digits | None = None,
) -> TrainingSetup:
    """Set up a training for real handwriting, and for what is none.

    Digits, those of MNIST and others drawn here, are changed anew in each epoch; some images show
    no digit, and their target is an even answer (outlier exposure: Hendrycks et al. 2019, "Deep
    Anomaly Detection with Outlier Exposure"). The learning rate falls along a cosine (Loshchilov,
    Hutter 2017, "SGDR"), and what becomes a version is the average of the weights.
    """
    remaining, held_out = split(train)
    training_digits = remaining.concat(corrections)
    batches = AugmentedBatches(*_add_synthetic(training_digits), hyperparameters.batch_size, device)
    net = MyNet().to(device)
    optimizer = optim.SGD(
        net.parameters(),
        lr=hyperparameters.learning_rate,
        momentum=hyperparameters.momentum,
        nesterov=hyperparameters.momentum > 0,
        weight_decay=DECAY,
    )
    model = EMAModel(net, optimizer)
    _attach_cosine_schedule(
        optimizer, hyperparameters.learning_rate, hyperparameters.epochs * len(batches)
    )
    return TrainingSetup(model, model.average, optimizer, batches, held_out)


def _add_synthetic(digits: Digits) -> tuple[Digits, Tensor]:
    """Return the digits with others drawn after them, and pictures of none (N, 28, 28) uint8."""
    random = np.random.default_rng(int(torch.randint(2**31, ())))
    synthetic = draw_digits(random, digits, SYNTHETIC_DIGITS)
    negatives = draw_negatives(random, digits.pixels.numpy(), NEGATIVES)
    return digits.concat(synthetic), torch.from_numpy(negatives)


def split(train: Digits) -> tuple[Digits, Digits]:
    """Keep some images back, the same in each training."""
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(SPLIT_SEED))
    share = min(HELD_OUT, len(train) // 10)
    held_out, remaining = order[:share], order[share:]
    return train.subset(remaining), train.subset(held_out)


def _attach_cosine_schedule(optimizer: Optimizer, max_learning_rate: float, steps: int) -> None:
    """Set the learning rate after each step; how many there were is part of the saved state."""
    (group,) = optimizer.param_groups
    group["done"] = 0

    def set_rate(*_: Any) -> None:
        (group,) = optimizer.param_groups
        done = group["done"]
        cosine = (1 + math.cos(math.pi * min(1.0, done / steps))) / 2
        group["lr"] = max_learning_rate * min(1.0, (done + 1) / WARM_UP) * cosine
        group["done"] = done + 1

    set_rate()
    optimizer.register_step_post_hook(set_rate)


class Recipe(Protocol):
    """How to set up a training: for what was asked, with which images, and where."""

    def __call__(
        self,
        hyperparameters: Hyperparameters,
        train: Digits,
        device: torch.device,
        corrections: Digits | None = None,
    ) -> TrainingSetup: ...


RECIPES: Final[dict[str, Recipe]] = {
    "documented": documented,
    "robust": robust,
}
