"""What a training needs to go on after its process ended: one file a job, or a folder of
checkpoints where an engine keeps them.

What enters: the network, its optimiser, and how far the training is. What leaves: the same, put
back. A training that goes on from here ends with the very weights of one that was never
interrupted: the order of an epoch's batches comes from the random state at its start, and sums
depend on the number of threads, so that both are kept. This module does not know why a process
ended.
"""

import pickle
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Final, Protocol

import torch
from filelock import FileLock
from torch import Tensor, nn
from torch.optim import Optimizer

from app import durable
from app.durable import replacing

KEPT: Final = ("*.pt", "*.corrections", "*.lock")


class Damaged(Exception):
    """A file that is not a saved state; the message names it."""


class Kept(Protocol):
    """Where a training's state is."""

    def save(self, model: nn.Module, optimizer: Optimizer, position: "Position") -> None:
        """Save the state, atomically. Raises OSError."""

    def restore(self, model: nn.Module, optimizer: Optimizer) -> "Position | None":
        """Put it back, as `restore` does. Raises Damaged."""


@dataclass(slots=True)
class Position:
    """How far a training is: between two batches of an epoch, counted from 0.

    `random` is torch's random state at the epoch's start, `losses` are those of the epoch's batches
    that are done, scalars; `seconds` is the time spent on them.
    """

    epoch: int = 0
    random: Tensor = field(default_factory=torch.get_rng_state)
    losses: list[Tensor] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def batches_done(self) -> int:
        return len(self.losses)

    def next_epoch(self) -> "Position":
        """Give the position at the start of the next epoch, which is now."""
        return Position(self.epoch + 1)


def path_of(folder: Path, job_id: str) -> Path:
    """Say where a job's state is saved."""
    return folder / f"{job_id}.pt"


def corrections_of(folder: Path, job_id: str) -> Path:
    """Say where the corrections are kept that a job trains with."""
    return folder / f"{job_id}.corrections"


@contextmanager
def alone(folder: Path, job_id: str) -> Iterator[None]:
    """Wait until no other process works on this job, and keep others waiting."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{job_id}.lock"):
        yield


def save(path: Path, model: nn.Module, optimizer: Optimizer, position: Position) -> None:
    """Save the state, atomically. Raises OSError."""
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "position": {
            "epoch": position.epoch,
            "random": position.random,
            "losses": [loss.item() for loss in position.losses],
            "seconds": position.seconds,
        },
        "threads": torch.get_num_threads(),
    }
    # Through memory, so that a full disk is an OSError and not one of torch's own.
    buffer = BytesIO()
    torch.save(state, buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def restore(path: Path, model: nn.Module, optimizer: Optimizer) -> Position | None:
    """Put the saved state back, and say how far it is; None where nothing was saved.

    Raises Damaged; model and optimiser may be changed then.
    """
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        losses = [torch.tensor(loss) for loss in state["position"]["losses"]]
        position = Position(**{**state["position"], "losses": losses})
        torch.set_num_threads(state["threads"])
        torch.set_rng_state(position.random)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        LookupError,
        TypeError,
        ValueError,
    ) as e:
        raise Damaged(f"{path} is not a saved state: {e}") from e
    return position


@dataclass(frozen=True)
class InFile:
    """State that is kept in one file."""

    path: Path

    def save(self, model: nn.Module, optimizer: Optimizer, position: Position) -> None:
        save(self.path, model, optimizer, position)

    def restore(self, model: nn.Module, optimizer: Optimizer) -> Position | None:
        return restore(self.path, model, optimizer)


def sweep(folder: Path, is_needed: Callable[[str], bool], *, writers: bool) -> None:
    """Remove what was kept for jobs that need it no more; and where there are no `writers` at work,
    what broken writes left.
    """
    for path in chain.from_iterable(map(folder.glob, KEPT)):
        if not is_needed(path.stem):
            path.unlink(missing_ok=True)
    for checkpoints in folder.glob("*/"):
        if not is_needed(checkpoints.name):
            # Who ends late may still write there: the next sweep finds what this one leaves.
            shutil.rmtree(checkpoints, ignore_errors=True)
    if not writers:
        durable.sweep(folder)
