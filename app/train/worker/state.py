"""Resumable training state: save, restore and resume."""

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
# Errors of torch, and of the content, for a file that is not a saved state.
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
    """A file is not a saved state. The message names the file."""


class Checkpointer(Protocol):
    """Stores the state of a training: in a file, or in Ray Train's checkpoints."""

    def save(self, model: nn.Module, optimizer: Optimizer, position: "Position") -> None:
        """Save the state, atomically. Raises OSError."""

    def restore(self, model: nn.Module, optimizer: Optimizer) -> "Position | None":
        """Restore the saved state, and return its position, or None. Raises CorruptCheckpoint."""


@dataclass(slots=True)
class Position:
    """The position of a training between two batches of an epoch; epochs count from 0.

    `random` is torch's random state at the start of the epoch. `losses` are those of the finished
    batches of the epoch, scalars; `seconds` is the time spent on them.
    """

    epoch: int = 0
    random: Tensor = field(default_factory=torch.get_rng_state)
    losses: list[Tensor] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def batches_done(self) -> int:
        return len(self.losses)

    def next_epoch(self) -> "Position":
        """Return the position at the start of the next epoch, with the present random state."""
        return Position(self.epoch + 1)


class JobFiles:
    """The files of a job in the state folder, for its next attempt."""

    def __init__(self, folder: Path, job_id: str) -> None:
        self.folder, self.job_id = folder, job_id

    @property
    def state(self) -> Path:
        """The path of the saved state."""
        return self.folder / f"{self.job_id}.pt"

    @property
    def corrections(self) -> Path:
        """The path of the corrections that the job trains with."""
        return self.folder / f"{self.job_id}.corrections"

    def download_newer(self) -> None:
        """Download newer files of other services. Without a bucket there are none."""

    def store_corrections(self, content: bytes) -> None:
        """Store the corrections for all attempts. Raises OSError."""
        write(self.corrections, content)

    def replicating(self) -> AbstractContextManager[None]:
        """Replicate the saved state regularly until the context ends."""
        return nullcontext()

    def clean_up(self, has_ended: Callable[[str], bool]) -> None:
        """Delete the copies of ended jobs. Without a bucket there are none."""


@contextmanager
def job_lock(folder: Path, job_id: str) -> Iterator[None]:
    """Hold the file lock of a job: only one process works on it."""
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
    # In memory first: with a full disk, torch raises errors of its own instead of OSError.
    buffer = BytesIO()
    torch.save(state, buffer)
    write(path, buffer.getbuffer())


def restore(path: Path, model: nn.Module, optimizer: Optimizer) -> Position | None:
    """Restore the saved state, and return its position, or None if nothing was saved.

    Raises CorruptCheckpoint. The model and the optimiser may be changed then.
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
    """Return the epoch of a saved state and the number of its finished batches.

    Returns None if the content is not a saved state.
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
    """Delete the files of jobs that are no longer needed.

    If there are no `writers`, temporary files of interrupted writes are deleted, too.
    """
    for path in chain.from_iterable(map(folder.glob, JOB_FILE_PATTERNS)):
        if not is_needed(path.stem):
            path.unlink(missing_ok=True)
    for checkpoints in folder.glob("*/"):
        if not is_needed(checkpoints.name):
            # A process that exits late may still write there. The next clean-up deletes the rest.
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
    """Return a training with its saved state. `hyperparameters` must contain the seed."""
    setup, start = _initial_setup(hyperparameters, dataset, device), Position()
    try:
        restored = checkpointer.restore(setup.model, setup.optimizer)
    except CorruptCheckpoint as error:
        log.error("saved state is damaged, training restarts from its seed: error=%s", error)
        return _initial_setup(hyperparameters, dataset, device), Position()
    return setup, restored or start


def _initial_setup(
    hyperparameters: Hyperparameters, dataset: Dataset, device: torch.device
) -> TrainingSetup:
    assert hyperparameters.seed is not None, "the seed of a job is drawn when it is queued"
    torch.manual_seed(hyperparameters.seed)
    return RECIPES[hyperparameters.recipe](
        hyperparameters, dataset.train, device, dataset.corrections
    )
