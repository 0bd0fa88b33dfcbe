"""Trainer: runs the training loop of one attempt, from the saved state or the seed.

It records events and epochs in the database. It saves the state at the end of each epoch and every
few seconds.
"""

import math
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import torch
from torch import Tensor

from app.torch_net import MyNet
from app.train.evaluation import evaluate
from app.train.jobs.fenced_writer import Superseded
from app.train.jobs.phase import Phase
from app.train.recipes.dataset import Dataset
from app.train.recipes.drawn_images import Drawing
from app.train.recipes.loop import Loader, Step
from app.train.recipes.picture_cache import PictureCache
from app.train.worker.attempt import Diverged, JobAttempt, Stopped
from app.train.worker.early_end import BestEpoch, Ending, is_better
from app.train.worker.heartbeat import Heartbeat
from app.train.worker.model_card import evaluate_model
from app.train.worker.state import (
    Checkpointer,
    Position,
    ending_at,
    remaining_epochs,
    resume,
)
from app.versions.card import EpochRecord

if TYPE_CHECKING:  # torch.distributed is imported only for distributed trainings
    from app.train.worker.ddp import DataParallelGroup

SAVE_INTERVAL: Final = 5.0
# Seconds between two writes of how many pictures are drawn. A batch that takes less draws unseen.
DRAWN_INTERVAL: Final = 2.0


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
        self._phase, self._record_drawn_at = Phase.LOADING, time.monotonic() + DRAWN_INTERVAL
        self._drawing = Drawing(
            self._on_drawn, PictureCache(attempt.settings.state_dir / "pictures")
        )
        self.epochs = [EpochRecord(**epoch) for epoch in attempt.job.epochs]
        progress = attempt.job.progress or {"epoch": -1, "batch": 0}
        self.last_recorded = (progress["epoch"], progress["batch"])
        if group:
            group.begin(attempt.hyperparameters, dataset)
        self.setup, self.position = resume(
            attempt.hyperparameters,
            dataset,
            attempt.device,
            checkpointer,
            self._drawing,
            attempt.initial_weights(),
        )
        # An evaluation goes through the network in chunks.
        self.setup.net.register_forward_pre_hook(lambda *_: attempt.heartbeat.beat())
        self.clock = Clock(
            self.position, len(self.setup.batches), attempt.hyperparameters.epochs, self._drawing
        )

    def run(self) -> MyNet:
        """Train to the end. Raises PeerLost, Diverged, Stopped, Superseded."""
        self._record_last_batch()
        try:
            self._train()
        except Superseded:  # perhaps paused: save the progress since the last save
            # At the end of an epoch its random state is used up: resume from the last save instead.
            if self.position.batches_done < len(self.setup.batches):
                self._save()
            raise
        if self.ending.cause:
            self.attempt.writer.complete_progress()
        if self.attempt.hyperparameters.early_stopping and self.position.best:
            self.setup.net.load_state_dict(self.position.best.weights)
        return self.setup.net

    @property
    def ending(self) -> Ending:
        """How the training ended, by its position."""
        return ending_at(self.position, self.attempt.hyperparameters)

    def _train(self) -> None:
        fit = self.group.fit if self.group else self.setup.fit
        for step in fit(
            self.setup.model,
            self.setup.optimizer,
            BeatingBatches(self.setup.batches, self.attempt.heartbeat),
            epochs=remaining_epochs(self.position, self.attempt.hyperparameters),
            device=self.attempt.device,
            done=self.position.batches_done,
        ):
            self._on_step(step)
            if self.ending.cause:
                break
        if self.group:
            self.group.close()

    def _on_drawn(self, drawing: Drawing) -> None:
        self.attempt.heartbeat.beat()
        if self.group:
            return  # between two steps, no other rank would notice an error
        if self.stop.is_set():  # the last save is a moment old
            raise Stopped
        if time.monotonic() >= self._record_drawn_at:
            self._phase, self._record_drawn_at = Phase.DRAWING, time.monotonic() + DRAWN_INTERVAL
            self.attempt.begin_phase(Phase.DRAWING, drawing.drawn, drawing.total)

    def _begin_training(self) -> None:
        """Record that the job trains, if it loaded or drew before this batch."""
        self._record_drawn_at = time.monotonic() + DRAWN_INTERVAL
        if self._phase != Phase.TRAINING:
            self._phase = Phase.TRAINING
            self.attempt.begin_phase(Phase.TRAINING)

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
        self._begin_training()
        if step.is_logged:
            self._record_batch(step)
        if step.ends_epoch:
            self._end_epoch()
        self.position.is_out_of_time = self._is_out_of_time(step)
        is_due = step.ends_epoch or self.clock.since_save() > SAVE_INTERVAL
        if is_due or self.position.is_out_of_time or self.stop.is_set():
            self._save_checkpoint()
        if self.stop.is_set():
            raise Stopped

    def _is_out_of_time(self, step: Step) -> bool:
        """Return whether the training ends after this step, by its limit of seconds.

        Not before a step that an earlier attempt has recorded: what was shown is not taken back.
        """
        limit = self.attempt.hyperparameters.max_seconds
        if limit is None or (step.epoch, step.batch) < self.last_recorded:
            return False
        if self.position.epoch == self.attempt.hyperparameters.epochs:
            return False  # it was the last step
        ended = sum(epoch.seconds for epoch in self.epochs[: self.position.epoch])
        return ended + self.position.seconds + self.clock.since_lap() >= limit

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
        record = self._evaluate_epoch()
        self._remember_best(record)
        if self.attempt.hyperparameters.keep_checkpoints:
            self._keep_checkpoint(record)
        if self.position.epoch >= len(self.epochs):
            records = [epoch.model_dump() for epoch in (*self.epochs, record)]
            self.attempt.writer.record("epoch", records[-1], epochs=records)
            # The attributes of a span have values: null is none.
            self.attempt.trace_stage("epoch", record.model_dump(exclude_none=True))
            self.epochs.append(record)
        self.position = self.position.next_epoch()

    def _evaluate_epoch(self) -> EpochRecord:
        score = evaluate.score(self.setup.net, self.dataset.test, self.attempt.device)
        validation = None
        if self.dataset.validation:
            validation = evaluate.score(
                self.setup.net, self.dataset.validation, self.attempt.device
            )
        train_loss = torch.stack([loss.cpu() for loss in self.position.losses]).mean().item()
        losses = train_loss + score.loss + (validation.loss if validation else 0.0)
        self._check(losses, f"in epoch {self.position.epoch}")
        return EpochRecord(
            epoch=self.position.epoch,
            train_loss=train_loss,
            test_loss=score.loss,
            test_accuracy=score.accuracy,
            validation_loss=validation.loss if validation else None,
            validation_accuracy=validation.accuracy if validation else None,
            seconds=self.position.seconds + self.clock.lap(),
        )

    def _keep_checkpoint(self, record: EpochRecord) -> None:
        """Store the weights of this epoch before it is recorded, so that both exist or neither."""
        epochs = [*self.epochs[: record.epoch], record]
        net, held_out = self.setup.net, self.setup.held_out
        weights, card = evaluate_model(self.attempt, net, self.dataset, epochs, held_out)
        card = card.model_copy(update={"checkpoint": record.epoch})
        self.attempt.checkpoints.write(self.attempt.job.id, record.epoch, weights, card)

    def _remember_best(self, record: EpochRecord) -> None:
        early_stopping, loss = self.attempt.hyperparameters.early_stopping, record.validation_loss
        if early_stopping is None or loss is None:
            return
        if is_better(early_stopping, loss, self.position.best):
            self.position.best = BestEpoch.of(record.epoch, loss, self.setup.net)

    def _save_checkpoint(self) -> None:
        self._save()
        self.attempt.writer.reset_failures()

    def _save(self) -> None:
        self.position.seconds += self.clock.lap()
        if self.group:
            self.group.announce_save()
        self.checkpointer.save(self.setup.model, self.setup.optimizer, self.position)
        self.clock.saved()


class BeatingBatches:
    """Batches that send a heartbeat when they are drawn, also those that a resumed epoch skips."""

    def __init__(self, batches: Loader, heartbeat: Heartbeat) -> None:
        self._batches, self._heartbeat = batches, heartbeat

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in self._batches:
            self._heartbeat.beat()
            yield batch


class Clock:
    """Measures the time of epochs, without drawing pictures, and estimates the remaining time."""

    def __init__(self, start: Position, batches: int, epochs: int, drawing: Drawing) -> None:
        self.batches, self.epochs, self.drawing = batches, epochs, drawing
        self.first = start.epoch * batches + start.batches_done
        self.started = self.lap_started = self._now()
        self.saved_at = time.monotonic()

    def lap(self) -> float:
        """Return the seconds since the last lap."""
        last, self.lap_started = self.lap_started, self._now()
        return self.lap_started - last

    def since_lap(self) -> float:
        return self._now() - self.lap_started

    def saved(self) -> None:
        self.saved_at = time.monotonic()

    def since_save(self) -> float:
        return time.monotonic() - self.saved_at

    def _now(self) -> float:
        return time.monotonic() - self.drawing.seconds

    def progress(self, step: Step) -> dict[str, float]:
        """Return the progress of the job; `eta` is in seconds, at the speed of this attempt."""
        steps, last = step.epoch * self.batches + step.batch, self.epochs * self.batches
        seconds_per_step = (self._now() - self.started) / max(1, steps - self.first)
        # The last epoch draws what its batches need, and any other one is followed by the rest.
        is_last = step.epoch + 1 == self.epochs
        drawing_left = 1 - step.batch / step.batches if is_last else 1.0
        return {
            "epoch": step.epoch,
            "epochs": self.epochs,
            "batch": step.batch,
            "batches": step.batches,
            "fraction": steps / last,
            "eta": (last - steps) * seconds_per_step
            + drawing_left * self.drawing.remaining_seconds,
        }
