"""Resumable training state: save, restore, resume."""

import logging
import pickle
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Final, Protocol

import torch
from filelock import FileLock
from torch import Tensor, nn
from torch.optim import Optimizer

from app import atomic_files
from app.atomic_files import atomic_replace, make_folder
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.recipes.dataset import Dataset
from app.train.recipes.recipes import RECIPES, TrainingSetup

JOB_FILE_PATTERNS: Final = ("*.pt", "*.corrections", "*.lock")
# What torch and what is in a file raise where it is not a saved state.
LOAD_ERRORS: Final = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
)
log = logging.getLogger(__name__)


class CorruptCheckpoint(Exception):
    """A file that is not a saved state; the message names it."""


class Checkpointer(Protocol):
    """Stores the state of a training: in a file, or in Ray Train's checkpoints."""

    def save(self, model: nn.Module, optimizer: Optimizer, position: "Position") -> None:
        """Save the state, atomically. Raises OSError."""

    def restore(self, model: nn.Module, optimizer: Optimizer) -> "Position | None":
        """Put the saved state back, and return its position. Raises CorruptCheckpoint."""


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
        """Return the position at the start of the next epoch, which is now."""
        return Position(self.epoch + 1)


class JobFiles:
    """What one job keeps in a folder, for its next attempt."""

    def __init__(self, folder: Path, job_id: str) -> None:
        self.folder, self.job_id = folder, job_id

    @property
    def state(self) -> Path:
        """The saved state."""
        return self.folder / f"{self.job_id}.pt"

    @property
    def corrections(self) -> Path:
        """The corrections that the job trains with."""
        return self.folder / f"{self.job_id}.corrections"

    def download_newer(self) -> None:
        """See what other services kept: none does, where nothing is shared."""

    def store_corrections(self, content: bytes) -> None:
        """Keep the corrections for every attempt. Raises OSError."""
        write(self.corrections, content)

    def replicating(self) -> AbstractContextManager[None]:
        """Replicate what is stored, again and again, until the context ends."""
        return nullcontext()

    def clean_up(self, has_ended: Callable[[str], bool]) -> None:
        """Remove what others have of jobs that ended."""


@contextmanager
def job_lock(folder: Path, job_id: str) -> Iterator[None]:
    """Wait until no other process works on this job, and keep others waiting."""
    make_folder(folder)
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
    write(path, buffer.getbuffer())


def restore(path: Path, model: nn.Module, optimizer: Optimizer) -> Position | None:
    """Put the saved state back, and say how far it is; None where nothing was saved.

    Raises CorruptCheckpoint; model and optimiser may be changed then.
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
    except LOAD_ERRORS as e:
        raise CorruptCheckpoint(f"{path} is not a saved state: {e}") from e
    return position


def saved_position(content: bytes) -> tuple[int, int] | None:
    """Return how far a saved state is: its epoch, and the batches of it that are done.

    Returns None if it is no saved state.
    """
    try:
        position = torch.load(BytesIO(content), map_location="cpu", weights_only=True)["position"]
        return int(position["epoch"]), len(position["losses"])
    except LOAD_ERRORS:
        return None


@dataclass(frozen=True)
class FileCheckpointer:
    """Stores the state in one file."""

    path: Path

    def save(self, model: nn.Module, optimizer: Optimizer, position: Position) -> None:
        save(self.path, model, optimizer, position)

    def restore(self, model: nn.Module, optimizer: Optimizer) -> Position | None:
        return restore(self.path, model, optimizer)


def delete_finished(folder: Path, is_needed: Callable[[str], bool], *, writers: bool) -> None:
    """Remove what was kept for jobs that need it no more; and where there are no `writers` at work,
    what broken writes left.
    """
    for path in chain.from_iterable(map(folder.glob, JOB_FILE_PATTERNS)):
        if not is_needed(path.stem):
            path.unlink(missing_ok=True)
    for checkpoints in folder.glob("*/"):
        if not is_needed(checkpoints.name):
            # Who ends late may still write there: the next sweep finds what this one leaves.
            shutil.rmtree(checkpoints, ignore_errors=True)
    if not writers:
        atomic_files.remove_temporary_files(folder)


def write(path: Path, content: bytes | memoryview) -> None:
    """Write a file, atomically. Raises OSError."""
    make_folder(path.parent)
    with atomic_replace(path) as temporary:
        temporary.write_bytes(content)


def resume(
    hyperparameters: Hyperparameters,
    dataset: Dataset,
    device: torch.device,
    checkpointer: Checkpointer,
) -> tuple[TrainingSetup, Position]:
    """Set up a training, and put back its saved state. `hyperparameters` name its seed."""
    setup, start = _initial_setup(hyperparameters, dataset, device), Position()
    try:
        restored = checkpointer.restore(setup.model, setup.optimizer)
    except CorruptCheckpoint as error:
        log.error("the training starts again from its seed: %s", error)
        return _initial_setup(hyperparameters, dataset, device), Position()
    return setup, restored or start


def _initial_setup(
    hyperparameters: Hyperparameters, dataset: Dataset, device: torch.device
) -> TrainingSetup:
    assert hyperparameters.seed is not None, "a job's seed is drawn when it is queued"
    torch.manual_seed(hyperparameters.seed)
    return RECIPES[hyperparameters.recipe](
        hyperparameters, dataset.train, device, dataset.corrections
    )
