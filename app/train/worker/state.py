"""Resumable training state: save, restore and resume."""

import logging
import pickle
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Final, Protocol

import torch
from filelock import FileLock
from torch import Tensor, nn
from torch.optim import Optimizer

from app.atomic_files import atomic_replace, make_folder
from app.net import Weights
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.recipes.dataset import Dataset
from app.train.recipes.drawn_images import Drawing
from app.train.recipes.recipes import RECIPES, TrainingSetup
from app.train.worker.early_end import BestEpoch, Ending, has_stopped

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
    batches of the epoch, scalars; `seconds` is the time spent on them. `best` is the best epoch so
    far, with early stopping. The training ends here if it `is_out_of_time`.
    """

    epoch: int = 0
    random: Tensor = field(default_factory=torch.get_rng_state)
    losses: list[Tensor] = field(default_factory=list)
    seconds: float = 0.0
    best: BestEpoch | None = None
    is_out_of_time: bool = False

    @property
    def batches_done(self) -> int:
        return len(self.losses)

    def next_epoch(self) -> "Position":
        """Return the position at the start of the next epoch, with the present random state."""
        return Position(self.epoch + 1, best=self.best)


def ending_at(position: Position, hyperparameters: Hyperparameters) -> Ending:
    """Return how a training ends at this position, if it does."""
    early_stopping, best = hyperparameters.early_stopping, position.best
    best_epoch = best.epoch if early_stopping and best else None
    if has_stopped(early_stopping, position.epoch, best):
        return Ending("early_stopping", best_epoch)
    return Ending("max_seconds" if position.is_out_of_time else None, best_epoch)


def remaining_epochs(position: Position, hyperparameters: Hyperparameters) -> range:
    """Return the epochs to train from this position; none if the training ends there."""
    has_ended = ending_at(position, hyperparameters).cause is not None
    return range(position.epoch, position.epoch if has_ended else hyperparameters.epochs)


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
            "best": asdict(position.best) if position.best else None,
            "is_out_of_time": position.is_out_of_time,
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
        fields = state["position"]
        losses = [torch.tensor(loss) for loss in fields["losses"]]
        # A state that an older release saved has no best epoch.
        best = BestEpoch(**fields["best"]) if fields.get("best") else None
        position = Position(**{**fields, "losses": losses, "best": best})
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


def write(path: Path, content: bytes | memoryview) -> None:
    """Write a file, atomically. Raises OSError."""
    make_folder(path.parent)
    with atomic_replace(path) as temporary:
        temporary.write_bytes(content)


def hold_out(dataset: Dataset, hyperparameters: Hyperparameters) -> Dataset:
    """Return the dataset of a job with its validation images held out."""
    assert hyperparameters.seed is not None, "the seed of a job is drawn when it is queued"
    return dataset.hold_out(hyperparameters.validation_fraction, hyperparameters.seed)


def resume(
    hyperparameters: Hyperparameters,
    dataset: Dataset,
    device: torch.device,
    checkpointer: Checkpointer,
    drawing: Drawing | None = None,
    init: Weights | None = None,
) -> tuple[TrainingSetup, Position]:
    """Return a training with its saved state, or one that begins with these weights.

    Without `init` they are random. `hyperparameters` must contain the seed.
    """

    def begin() -> TrainingSetup:
        setup = _initial_setup(hyperparameters, dataset, device, drawing)
        if init is not None:
            setup.begin_with(init)
        return setup

    setup, start = begin(), Position()
    try:
        restored = checkpointer.restore(setup.model, setup.optimizer)
    except CorruptCheckpoint as error:
        log.error("saved state is damaged, training restarts from its seed: error=%s", error)
        return begin(), Position()
    return setup, restored or start


def _initial_setup(
    hyperparameters: Hyperparameters,
    dataset: Dataset,
    device: torch.device,
    drawing: Drawing | None,
) -> TrainingSetup:
    assert hyperparameters.seed is not None, "the seed of a job is drawn when it is queued"
    torch.manual_seed(hyperparameters.seed)
    return RECIPES[hyperparameters.recipe](
        hyperparameters, dataset.train, device, dataset.corrections, drawing
    )
