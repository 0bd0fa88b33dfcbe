"""Where a training begins: at its saved state, or at its seed.

What enters: hyperparameters, digits, and where the state is kept. What leaves: a setup for the
loop, and how far it is. This module does not know which process trains.
"""

import logging

import torch

from app.train.data import Dataset
from app.train.hyperparameters import Hyperparameters
from app.train.recipes import RECIPES, Setup
from app.train.saved import Damaged, Kept, Position

log = logging.getLogger(__name__)


def resume(
    wanted: Hyperparameters, dataset: Dataset, device: torch.device, kept: Kept
) -> tuple[Setup, Position]:
    """Set up a training, and put back what was saved of it. `wanted` names its seed."""
    setup, start = _fresh(wanted, dataset, device), Position()
    try:
        restored = kept.restore(setup.model, setup.optimizer)
    except Damaged as error:
        log.error("the training starts again from its seed: %s", error)
        return _fresh(wanted, dataset, device), Position()
    return setup, restored or start


def _fresh(wanted: Hyperparameters, dataset: Dataset, device: torch.device) -> Setup:
    assert wanted.seed is not None, "a job's seed is drawn when it is queued"
    torch.manual_seed(wanted.seed)
    return RECIPES[wanted.recipe](wanted, dataset.train, device, dataset.corrections)
