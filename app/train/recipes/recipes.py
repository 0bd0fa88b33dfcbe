"""Training recipes: network, optimiser and batches for the hyperparameters of a job."""

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

# Recipe `robust`: warm-up steps of the learning rate, synthetic digits, images without a digit.
WARM_UP: Final = 600
SYNTHETIC_DIGITS: Final = 16_000
NEGATIVES: Final = 20_000
DECAY: Final = 2e-5
HELD_OUT: Final = 5_000
SPLIT_SEED: Final = 1998


@dataclass(frozen=True, slots=True)
class TrainingSetup:
    """The objects of a training.

    The loop trains and saves `model`; `net` becomes the version. `held_out` are training images
    that the recipe does not train with, for the temperature and the energy threshold. Without them,
    the temperature is 1.
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
    """Return the tutorial's training: MNIST and the corrections, SGD with momentum."""
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
    """Return a training for real handwriting that also rejects images without a digit.

    Each epoch augments MNIST and synthetic digits differently. Some images show no digit; their
    target is a uniform distribution (outlier exposure: Hendrycks et al. 2019, "Deep Anomaly
    Detection with Outlier Exposure"). The learning rate follows a cosine (Loshchilov, Hutter 2017,
    "SGDR"). The average of the weights becomes the version.
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
    """Return the digits with synthetic ones, and (N, 28, 28) uint8 images without a digit."""
    random = np.random.default_rng(int(torch.randint(2**31, ())))
    synthetic = draw_digits(random, digits, SYNTHETIC_DIGITS)
    negatives = draw_negatives(random, digits.pixels.numpy(), NEGATIVES)
    return digits.concat(synthetic), torch.from_numpy(negatives)


def split(train: Digits) -> tuple[Digits, Digits]:
    """Return the training and the held-out images, the same split for every training."""
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(SPLIT_SEED))
    share = min(HELD_OUT, len(train) // 10)
    held_out, remaining = order[:share], order[share:]
    return train.subset(remaining), train.subset(held_out)


def _attach_cosine_schedule(optimizer: Optimizer, max_learning_rate: float, steps: int) -> None:
    """Set the learning rate after each step. The step count is part of the saved state."""
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
    """A function that returns the objects of a training."""

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
