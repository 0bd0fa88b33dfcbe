"""Training recipes: network, optimiser and batches for the hyperparameters of a job."""

from dataclasses import dataclass
from typing import Final, Protocol

import torch
from torch import nn
from torch.optim import Optimizer

from app.net import Weights
from app.torch_net import MyNet
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.plan.recipe_sizes import held_out_images
from app.train.recipes import centring, loop, manual_loop, optimizers, schedules
from app.train.recipes.augmentation import AugmentedBatches
from app.train.recipes.dataset import Batches, Corrections, Digits, no_pixels
from app.train.recipes.drawn_images import Drawing, DrawnImages
from app.train.recipes.ema import EMAModel
from app.train.recipes.loop import Fit, Loader

# Recipe `robust`: weight decay, and the split of the training images.
DECAY: Final = 2e-5
SPLIT_SEED: Final = 1998
# Recipe `quick`: Adam's beta 2. Its usual 0.999 averages over more steps than the recipe has.
SQUARES_DECAY: Final = 0.99


@dataclass(frozen=True, slots=True)
class TrainingSetup:
    """The objects of a training.

    The loop `fit` trains and saves `model`; `net` becomes the version. `held_out` are training
    images that the recipe does not train with, for the temperature and the energy threshold.
    Without them, the temperature is 1.
    """

    model: nn.Module
    net: MyNet
    optimizer: Optimizer
    batches: Loader
    held_out: Digits | None = None
    fit: Fit = loop.fit

    def begin_with(self, weights: Weights) -> None:
        """Load these weights into the network, and into its average if there is one."""
        tensors = {name: torch.from_numpy(array) for name, array in weights.items()}
        for net in self.model.modules():
            if isinstance(net, MyNet):
                net.load_state_dict(tensors)


def documented(
    hyperparameters: Hyperparameters,
    train: Digits,
    device: torch.device,
    corrections: Corrections | None = None,
    drawing: Drawing | None = None,  # noqa: ARG001, it draws nothing
) -> TrainingSetup:
    """Return the tutorial's training: MNIST and the corrected digits, SGD with momentum."""
    net = MyNet().to(device)
    optimizer = optimizers.SGD(
        net.parameters(), lr=hyperparameters.learning_rate, momentum=hyperparameters.momentum
    )
    digits = _add_corrected(train, corrections)
    batches = Batches(digits, hyperparameters.batch_size, device)
    is_manual = manual_loop.supports(device, hyperparameters.momentum)
    fit = manual_loop.fit if is_manual else loop.fit
    return TrainingSetup(net, net, optimizer, batches, fit=fit)


def quick(
    hyperparameters: Hyperparameters,
    train: Digits,
    device: torch.device,
    corrections: Corrections | None = None,
    drawing: Drawing | None = None,  # noqa: ARG001, it draws nothing
) -> TrainingSetup:
    """Return a training that is as accurate as the tutorial's, in a fifth of its epochs.

    Adam (Kingma, Ba 2015) with one cycle of the learning rate, and a centred first layer.
    """
    net = MyNet().to(device)
    optimizer = optimizers.Adam(
        net.parameters(),
        lr=hyperparameters.learning_rate,
        betas=(hyperparameters.momentum, SQUARES_DECAY),
        fused=True,
    )
    digits = _add_corrected(train, corrections)
    batches = Batches(digits, hyperparameters.batch_size, device)
    centring.attach(optimizer, net)
    steps = hyperparameters.epochs * len(batches)
    schedules.attach(optimizer, schedules.one_cycle(hyperparameters.learning_rate, steps))
    fit = manual_loop.fit if device.type == "cpu" else loop.fit
    return TrainingSetup(net, net, optimizer, batches, fit=fit)


def robust(
    hyperparameters: Hyperparameters,
    train: Digits,
    device: torch.device,
    corrections: Corrections | None = None,
    drawing: Drawing | None = None,
) -> TrainingSetup:
    """Return a training for real handwriting that also rejects images without a digit.

    Each epoch augments MNIST and synthetic digits differently. Some images show no digit: synthetic
    ones and corrections, all equally likely. Their target is a uniform distribution (outlier
    exposure: Hendrycks et al. 2019, "Deep Anomaly Detection with Outlier Exposure"). The learning
    rate follows a cosine. The average of the weights becomes the version.
    """
    remaining, held_out = split(train)
    digits = _add_corrected(remaining, corrections)
    non_digits = corrections.non_digits if corrections else no_pixels()
    seed = int(torch.randint(2**31, ()))
    images = DrawnImages(digits, non_digits, seed, drawing or Drawing())
    batches = AugmentedBatches(images, hyperparameters.batch_size, device)
    net = MyNet().to(device)
    optimizer = optimizers.SGD(
        net.parameters(),
        lr=hyperparameters.learning_rate,
        momentum=hyperparameters.momentum,
        nesterov=hyperparameters.momentum > 0,
        weight_decay=DECAY,
    )
    model = EMAModel(net, optimizer)
    steps = hyperparameters.epochs * len(batches)
    schedules.attach(optimizer, schedules.cosine(hyperparameters.learning_rate, steps))
    return TrainingSetup(model, model.average, optimizer, batches, held_out)


def _add_corrected(train: Digits, corrections: Corrections | None) -> Digits:
    return train.concat(corrections.digits) if corrections else train


def split(train: Digits) -> tuple[Digits, Digits]:
    """Return the training and the held-out images, the same split for every training."""
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(SPLIT_SEED))
    share = held_out_images(len(train))
    held_out, remaining = order[:share], order[share:]
    return train.subset(remaining), train.subset(held_out)


class Recipe(Protocol):
    """A function that returns the objects of a training."""

    def __call__(
        self,
        hyperparameters: Hyperparameters,
        train: Digits,
        device: torch.device,
        corrections: Corrections | None = None,
        drawing: Drawing | None = None,
    ) -> TrainingSetup: ...


RECIPES: Final[dict[str, Recipe]] = {
    "documented": documented,
    "quick": quick,
    "robust": robust,
}
