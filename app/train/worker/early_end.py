"""Ends of a training before its last epoch: by the validation loss, or by a time limit.

Both decisions follow from the saved state, so a resumed training ends where it would have ended.
"""

from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from torch import Tensor, nn

from app.train.jobs.hyperparameters import EarlyStopping

Cause = Literal["early_stopping", "max_seconds"]
# Epochs count from 0, so the one that a limit breaks off has the number of those that ended.
EXPLANATIONS: Final = {
    "early_stopping": "The training stopped after {epochs} epochs, because the validation loss was "
    "lowest in epoch {best_epoch}. ",
    "max_seconds": "The training stopped at its limit of {max_seconds:g} s, after {epochs} epochs."
    " ",
}


@dataclass(frozen=True, slots=True)
class BestEpoch:
    """The epoch with the lowest validation loss, and its weights; epochs count from 0."""

    epoch: int
    loss: float
    weights: dict[str, Tensor]

    @classmethod
    def of(cls, epoch: int, loss: float, net: nn.Module) -> "BestEpoch":
        """Return this epoch, with copies of the weights of `net`."""
        weights = {name: tensor.cpu().clone() for name, tensor in net.state_dict().items()}
        return cls(epoch, loss, weights)


class Ending(NamedTuple):
    """How a training ended. `cause` is None after its last epoch.

    `best_epoch` is the epoch of the weights if the validation loss chose it.
    """

    cause: Cause | None = None
    best_epoch: int | None = None


def is_better(early_stopping: EarlyStopping, loss: float, best: BestEpoch | None) -> bool:
    """Return whether a validation loss is lower than the best so far, by more than `min_delta`."""
    return best is None or loss < best.loss - early_stopping.min_delta


def has_stopped(
    early_stopping: EarlyStopping | None, ended_epochs: int, best: BestEpoch | None
) -> bool:
    """Return whether the last `patience` epochs brought no better validation loss."""
    if early_stopping is None or best is None:
        return False
    return ended_epochs - 1 - best.epoch >= early_stopping.patience
