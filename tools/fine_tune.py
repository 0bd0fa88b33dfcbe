"""`python -m tools.fine_tune FILE NEW_FILE SEED`: train a version of `robust` further.

It starts with the weights of FILE and draws the recipe's pictures as they are today, so a version
learns new pictures at a fraction of a whole training. All else is the recipe's, also the images
that are held out. The learning rate follows a second cosine (Loshchilov, Hutter 2017, "SGDR:
Stochastic Gradient Descent with Warm Restarts").
"""

import sys
import time
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Final

import torch

from app.database.tables import now
from app.torch_net import net_with, weights_of
from app.train.evaluation.evaluate import evaluate, score
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.recipes.dataset import Digits
from app.train.recipes.dataset import load as load_mnist
from app.train.recipes.ema import EMAModel
from app.train.recipes.loop import fit
from app.train.recipes.recipes import TrainingSetup, robust
from app.versions import checkpoint
from app.versions.card import Card, EpochRecord
from tests.conftest import DATA

EPOCHS: Final = 14
LEARNING_RATE: Final = 0.04
CPU: Final = torch.device("cpu")


def main() -> None:
    path, new_path, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)  # the sums of several threads have other roundings
    torch.manual_seed(seed)
    start, mnist = checkpoint.read_card(path), load_mnist(DATA)
    hyperparameters = Hyperparameters(
        recipe="robust", epochs=EPOCHS, learning_rate=LEARNING_RATE, seed=seed
    )
    setup = robust(hyperparameters, mnist.train, CPU)
    assert isinstance(setup.model, EMAModel)
    for net in (setup.model.net, setup.net):
        net.load_state_dict(net_with(checkpoint.read_weights(path)).state_dict())
    records = [_run(setup, epoch, mnist.test) for epoch in range(EPOCHS)]
    card = Card(
        **evaluate(setup.net, mnist, CPU, setup.held_out).model_dump(),
        origin="trained",
        created_at=now(),
        recipe="robust",
        hyperparameters=hyperparameters.model_dump(),
        epochs=records,
        seconds=sum(record.seconds for record in records),
        note=f"{EPOCHS} epochs from the weights {start.weights_digest:.12}, by tools.fine_tune",
        data_digest=mnist.digest,
        weights_digest="",
        device="cpu",
        threads=1,
        torch_version=torch.__version__,
        code_version=version_of("mynet"),
    )
    checkpoint.write(new_path, weights_of(setup.net), card)


def _run(setup: TrainingSetup, epoch: int, test: Digits) -> EpochRecord:
    """Train for one epoch, and return its results."""
    began, epochs = time.monotonic(), range(epoch, epoch + 1)
    steps = fit(setup.model, setup.optimizer, setup.batches, epochs=epochs, device=CPU)
    train_loss = torch.stack([step.loss for step in steps]).mean().item()
    loss, accuracy = score(setup.net, test, CPU)
    record = EpochRecord(
        epoch=epoch,
        train_loss=train_loss,
        test_loss=loss,
        test_accuracy=accuracy,
        seconds=time.monotonic() - began,
    )
    print(record, flush=True)
    return record


if __name__ == "__main__":
    main()
