"""Trainer: runs the training loop of one attempt, from the saved state or the seed.

It records events and epochs in the database. It saves the state at the end of each epoch and every
few seconds.
"""

import math
import threading
import time
from typing import TYPE_CHECKING, Final

import torch

from app.net import MyNet
from app.train.evaluation import evaluate
from app.train.jobs.fenced_writer import Superseded
from app.train.recipes import loop
from app.train.recipes.dataset import Dataset
from app.train.recipes.loop import Step
from app.train.worker.attempt import Diverged, JobAttempt, Stopped
from app.train.worker.state import Checkpointer, Position, resume
from app.versions.card import EpochRecord

if TYPE_CHECKING:  # torch.distributed is imported only for distributed trainings
    from app.train.worker.ddp import DataParallelGroup

SAVE_INTERVAL: Final = 5.0


class Trainer:
    """Runs the loop of one attempt: records progress, saves the state, stops on request.

    `group` is set if several processes share the training. This one is its rank 0.
    """

    def __init__(
        self,
        attempt: JobAttempt,
        dataset: Dataset,
        stop: threading.Event,
        checkpointer: Checkpointer,
        group: "DataParallelGroup | None" = None,
    ) -> None:
        self.attempt, self.dataset, self.stop = attempt, dataset, stop
        self.checkpointer, self.group = checkpointer, group
        self.epochs = [EpochRecord(**epoch) for epoch in attempt.job.epochs]
        progress = attempt.job.progress or {"epoch": -1, "batch": 0}
        self.last_recorded = (progress["epoch"], progress["batch"])
        if group:
            group.begin(attempt.hyperparameters, dataset.corrections)
        self.setup, self.position = resume(
            attempt.hyperparameters, dataset, attempt.device, checkpointer
        )
        self.clock = Clock(self.position, len(self.setup.batches), attempt.hyperparameters.epochs)

    def run(self) -> MyNet:
        """Train to the end. Raises PeerLost, Diverged, Stopped, Superseded."""
        self._record_last_batch()
        try:
            fit = self.group.fit if self.group else loop.fit
            for step in fit(
                self.setup.model,
                self.setup.optimizer,
                self.setup.batches,
                epochs=range(self.position.epoch, self.attempt.hyperparameters.epochs),
                device=self.attempt.device,
                done=self.position.batches_done,
            ):
                self._on_step(step)
        except Superseded:  # perhaps paused: save the progress since the last save
            # At the end of an epoch its random state is used up: resume from the last save instead.
            if self.position.batches_done < len(self.setup.batches):
                self._save()
            raise
        return self.setup.net

    def _record_last_batch(self) -> None:
        """Record the last batch if the previous attempt was paused before it could."""
        done = self.position.batches_done
        if done:
            loss = self.position.losses[-1]
            last = Step(self.position.epoch, done, len(self.setup.batches), loss)
            if last.is_logged:
                self._record_batch(last)

    def _on_step(self, step: Step) -> None:
        self.position.losses.append(step.loss)
        if step.is_logged:
            self._record_batch(step)
        if step.ends_epoch:
            self._end_epoch()
        elif self.clock.since_save() > SAVE_INTERVAL or self.stop.is_set():
            self._save_checkpoint()
        if self.stop.is_set():
            raise Stopped

    def _record_batch(self, step: Step) -> None:
        loss = step.loss.item()
        self._check(loss, f"in epoch {step.epoch}, batch {step.batch}")
        # A resumed job repeats batches that were recorded before, with the same loss.
        if (step.epoch, step.batch) > self.last_recorded:
            data = {"epoch": step.epoch, "batch": step.batch, "loss": loss}
            self.attempt.writer.record("batch", data, progress=self.clock.progress(step))

    def _check(self, loss: float, where: str) -> None:
        if not math.isfinite(loss):
            raise Diverged(
                f"The loss became {loss} {where}. "
                f"Try a learning_rate below {self.attempt.hyperparameters.learning_rate}."
            )

    def _end_epoch(self) -> None:
        score = evaluate.score(self.setup.net, self.dataset.test, self.attempt.device)
        train_loss = torch.stack([loss.cpu() for loss in self.position.losses]).mean().item()
        self._check(train_loss + score.loss, f"in epoch {self.position.epoch}")
        seconds = self.position.seconds + self.clock.lap()
        if self.position.epoch >= len(self.epochs):
            record = EpochRecord(
                epoch=self.position.epoch,
                train_loss=train_loss,
                test_loss=score.loss,
                test_accuracy=score.accuracy,
                seconds=seconds,
            )
            records = [epoch.model_dump() for epoch in (*self.epochs, record)]
            self.attempt.writer.record("epoch", records[-1], epochs=records)
            self.attempt.trace_stage("epoch", records[-1])
            self.epochs.append(record)
        self.position = self.position.next_epoch()
        self._save_checkpoint()

    def _save_checkpoint(self) -> None:
        self._save()
        self.attempt.writer.reset_failures()

    def _save(self) -> None:
        self.position.seconds += self.clock.lap()
        if self.group:
            self.group.announce_save()
        self.checkpointer.save(self.setup.model, self.setup.optimizer, self.position)
        self.clock.saved()


class Clock:
    """Measures the time of epochs, and estimates the remaining time."""

    def __init__(self, start: Position, batches: int, epochs: int) -> None:
        self.batches, self.epochs = batches, epochs
        self.first = start.epoch * batches + start.batches_done
        self.started = self.lap_started = self.saved_at = time.monotonic()

    def lap(self) -> float:
        """Return the seconds since the last lap."""
        last, self.lap_started = self.lap_started, time.monotonic()
        return self.lap_started - last

    def saved(self) -> None:
        self.saved_at = time.monotonic()

    def since_save(self) -> float:
        return time.monotonic() - self.saved_at

    def progress(self, step: Step) -> dict[str, float]:
        """Return the progress of the job; `eta` is in seconds, at the speed of this attempt."""
        steps, last = step.epoch * self.batches + step.batch, self.epochs * self.batches
        seconds_per_step = (time.monotonic() - self.started) / max(1, steps - self.first)
        return {
            "epoch": step.epoch,
            "epochs": self.epochs,
            "batch": step.batch,
            "batches": step.batches,
            "fraction": steps / last,
            "eta": (last - steps) * seconds_per_step,
        }
