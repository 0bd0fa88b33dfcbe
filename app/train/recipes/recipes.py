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
from app.train.recipes.synthetic.digits import draw_uploads
from app.train.recipes.synthetic.negatives import draw_negatives

# Of the robust recipe: the schedule's first steps, digits drawn, and pictures of none.
WARM_UP: Final = 600
UPLOADS: Final = 16_000
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
    wanted: Hyperparameters,
    train: Digits,
    device: torch.device,
    corrections: Digits | None = None,
) -> TrainingSetup:
    """Set up the tutorial's training: plain MNIST, and what was corrected; SGD with momentum."""
    net = MyNet().to(device)
    optimizer = optim.SGD(net.parameters(), lr=wanted.learning_rate, momentum=wanted.momentum)
    batches = Batches(train.concat(corrections), wanted.batch_size, device)
    return TrainingSetup(net, net, optimizer, batches)


def robust(
    wanted: Hyperparameters,
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
    kept, held_out = split(train)
    learned = kept.concat(corrections)
    batches = AugmentedBatches(*_drawn(learned), wanted.batch_size, device)
    net = MyNet().to(device)
    optimizer = optim.SGD(
        net.parameters(),
        lr=wanted.learning_rate,
        momentum=wanted.momentum,
        nesterov=wanted.momentum > 0,
        weight_decay=DECAY,
    )
    model = EMAModel(net, optimizer)
    _attach_cosine_schedule(optimizer, wanted.learning_rate, wanted.epochs * len(batches))
    return TrainingSetup(model, model.average, optimizer, batches, held_out)


def _drawn(kept: Digits) -> tuple[Digits, Tensor]:
    """Give the digits with others drawn after them, and pictures of none (N, 28, 28) uint8."""
    random = np.random.default_rng(int(torch.randint(2**31, ())))
    uploads = draw_uploads(random, kept, UPLOADS)
    negatives = draw_negatives(random, kept.pixels.numpy(), NEGATIVES)
    return kept.concat(uploads), torch.from_numpy(negatives)


def split(train: Digits) -> tuple[Digits, Digits]:
    """Keep some images back, the same in each training."""
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(SPLIT_SEED))
    share = min(HELD_OUT, len(train) // 10)
    held_out, kept = order[:share], order[share:]
    return train.subset(kept), train.subset(held_out)


def _attach_cosine_schedule(optimizer: Optimizer, highest: float, steps: int) -> None:
    """Set the learning rate after each step; how many there were is part of the saved state."""
    (group,) = optimizer.param_groups
    group["done"] = 0

    def set_rate(*_: Any) -> None:
        (group,) = optimizer.param_groups
        done = group["done"]
        falling = (1 + math.cos(math.pi * min(1.0, done / steps))) / 2
        group["lr"] = highest * min(1.0, (done + 1) / WARM_UP) * falling
        group["done"] = done + 1

    set_rate()
    optimizer.register_step_post_hook(set_rate)


class Recipe(Protocol):
    """How to set up a training: for what was asked, with which images, and where."""

    def __call__(
        self,
        wanted: Hyperparameters,
        train: Digits,
        device: torch.device,
        corrections: Digits | None = None,
    ) -> TrainingSetup: ...


RECIPES: Final[dict[str, Recipe]] = {
    "documented": documented,
    "robust": robust,
}
