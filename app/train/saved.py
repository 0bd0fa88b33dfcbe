"""What a training needs to go on after its process ended: one file a job.

What enters: the network, its optimiser and the number of epochs done; torch's random state is read
where it lives. What leaves: the same, put back. A training that goes on from here ends with the
very weights of one that was never interrupted. This module does not know why a process ended.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock
from torch import nn
from torch.optim import Optimizer

from app import durable
from app.durable import replacing


def path_of(folder: Path, job_id: str) -> Path:
    """Say where a job's state is saved."""
    return folder / f"{job_id}.pt"


@contextmanager
def alone(folder: Path, job_id: str) -> Iterator[None]:
    """Wait until no other process works on this job, and keep others waiting."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{job_id}.lock"):
        yield


def save(path: Path, model: nn.Module, optimizer: Optimizer, epochs_done: int) -> None:
    """Save the state at the end of an epoch, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": torch.get_rng_state(),
        "epochs_done": epochs_done,
    }
    with replacing(path) as temporary:
        torch.save(state, temporary)


def restore(path: Path, model: nn.Module, optimizer: Optimizer) -> int:
    """Put the saved state back, and say how many epochs it has seen: 0 where nothing was saved."""
    if not path.exists():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    return int(state["epochs_done"])


def sweep(folder: Path, is_needed: Callable[[str], bool]) -> None:
    """Remove what was kept for jobs that need it no more, and what broken writes left."""
    for path in (*folder.glob("*.pt"), *folder.glob("*.lock")):
        if not is_needed(path.stem):
            path.unlink(missing_ok=True)
    durable.sweep(folder)
