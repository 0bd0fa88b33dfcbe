"""Distributed data parallel training: rank 0 and the other ranks.

Every rank draws the same batches and takes every n-th row. Rank 0 records progress, saves state and
decides when to stop: after each batch it sends the next command.

Li et al. 2020, "PyTorch Distributed: Experiences on Accelerating Data Parallel Training".
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.futures import Future
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from app.config.settings import Settings
from app.datasets.records import CORRECTIONS, MNIST
from app.devices import pick_device
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.recipes import dataset as data
from app.train.recipes import loop
from app.train.recipes.dataset import Corrections, Dataset, Digits
from app.train.recipes.loop import Loader, Step
from app.train.worker.attempt import PeerLost
from app.train.worker.state import Checkpointer, hold_out, remaining_epochs, resume


class Command(IntEnum):
    """The command of rank 0: train the next batch, save the state, or stop."""

    CONTINUE = 0
    SAVE = 1
    END = 2


class ShardedBatches:
    """The rows of one rank in each batch; `share` is their share of the last batch."""

    def __init__(self, batches: Loader, rank: int, size: int) -> None:
        self.batches, self.rank, self.size = batches, rank, size
        self.share = 0.0

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for inputs, targets in self.batches:
            rows = slice(self.rank, None, self.size)
            self.share = len(inputs[rows]) / len(inputs)
            # A rank without rows still needs a gradient, because the other ranks wait for it.
            yield (inputs[rows], targets[rows]) if self.share else (inputs[:1], targets[:1])


class DataParallelGroup:
    """The process group of a distributed training, as seen by this rank.

    Rank 0 calls `begin`, sends a command after each batch, and calls `close` when its training has
    ended or failed. The other ranks call `receive_job`, and `receive` after each batch.
    """

    def __init__(self) -> None:
        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()
        # NCCL does not work on the CPU.
        self.command_group = cast(distributed.ProcessGroup, distributed.new_group(backend="gloo"))
        self.peers_waiting = self.rank == 0

    def begin(self, hyperparameters: Hyperparameters, dataset: Dataset) -> None:
        """Send the job to the other ranks; they load MNIST themselves. Raises PeerLost."""
        self.broadcast(Command.CONTINUE)
        is_mnist = set(hyperparameters.training_datasets) - {CORRECTIONS} == {MNIST}
        train = None if is_mnist else dataset.train
        with _translate_errors():
            distributed.broadcast_object_list(
                [hyperparameters, train, dataset.corrections], group=self.command_group
            )

    def fit(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        train_loader: Loader,
        *,
        epochs: range,
        device: torch.device,
        done: int = 0,
    ) -> Iterator[Step]:
        """Train as `loop.fit` does, on this rank's rows of each batch. Raises PeerLost.

        The other ranks wait until rank 0 asks for the next step.
        """
        shards = ShardedBatches(train_loader, self.rank, self.size)
        with _translate_errors():
            ddp_model = DistributedDataParallel(model, forward_sync_buffers=False)
            ddp_model.register_comm_hook(shards, _weighted_all_reduce)
            steps = loop.fit(ddp_model, optimizer, shards, epochs=epochs, device=device, done=done)
            for step in steps:
                loss = step.loss * shards.share
                distributed.all_reduce(loss)
                yield step._replace(loss=loss)
                if self.rank == 0:
                    self.broadcast(Command.CONTINUE)
        self.peers_waiting = False

    def announce_save(self) -> None:
        """Ask the other ranks to save too: a checkpoint waits for all. Raises PeerLost."""
        self.broadcast(Command.SAVE)

    def broadcast(self, command: Command) -> None:
        """Send a command to the other ranks. Raises PeerLost."""
        with _translate_errors():
            distributed.broadcast(torch.tensor(int(command)), src=0, group=self.command_group)

    def receive(self) -> Command:
        """Wait for rank 0's next command. Raises PeerLost."""
        command = torch.tensor(0)
        with _translate_errors():
            distributed.broadcast(command, src=0, group=self.command_group)
        return Command(int(command))

    def receive_job(self) -> tuple[Hyperparameters, Digits | None, Corrections | None]:
        """Wait for the job that rank 0 sends: training images and corrections, if it has such.

        Raises PeerLost.
        """
        objects: list[Any] = [None, None, None]
        with _translate_errors():
            distributed.broadcast_object_list(objects, group=self.command_group)
        return objects[0], objects[1], objects[2]

    def close(self) -> None:
        """End the other ranks, if they still wait. Raises PeerLost."""
        if self.peers_waiting:
            self.peers_waiting = False
            self.broadcast(Command.END)


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Raise PeerLost for what torch raises if a peer is lost; it has no specific error."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        # ValueError: Ray Train destroys the process group of the ranks that are still alive.
        if isinstance(error, ValueError) and distributed.is_initialized():
            raise
        raise PeerLost(f"A process of the distributed training was lost: {error}") from error


def _weighted_all_reduce(
    shards: ShardedBatches,
    bucket: distributed.GradBucket,  # type: ignore[name-defined]
) -> Future[Tensor]:
    """Return the mean gradient of the batch: a mean over rows, not over ranks."""
    gradients = bucket.buffer().mul_(shards.share)
    work = distributed.all_reduce(gradients, async_op=True)
    return work.get_future().then(lambda done: done.value()[0])


def run_rank(
    settings: Settings,
    group: DataParallelGroup,
    checkpointer: Checkpointer,
    save: Callable[[], None],
) -> None:
    """Train with rank 0 until it ends the training; `save` is called when rank 0 saves.

    Raises DeviceUnavailable, PeerLost, DatasetUnavailable.
    """
    torch.set_num_threads(settings.effective_train_threads)
    if group.receive() is Command.END:
        return
    hyperparameters, train, corrections = group.receive_job()
    # Rank 0 alone looks at test images.
    dataset = Dataset(train, train, "") if train else data.load(settings.data_dir)
    if corrections is not None:
        dataset = dataset.with_corrections(corrections)
    dataset = hold_out(dataset, hyperparameters)
    name = pick_device(hyperparameters.device or settings.effective_train_device)
    device = torch.device(name)
    setup, position = resume(hyperparameters, dataset, device, checkpointer)
    for _ in group.fit(
        setup.model,
        setup.optimizer,
        setup.batches,
        epochs=remaining_epochs(position, hyperparameters),
        device=device,
        done=position.batches_done,
    ):
        while (command := group.receive()) is Command.SAVE:
            save()
        if command is Command.END:
            return
