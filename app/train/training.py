"""One attempt at one job: from its saved state to a version that is live where it should be.

What enters: a job, and where data and versions lie. What leaves: events and epochs in the database,
a version in the registry. This module does not know in which process it runs.
"""

import math
import time
from collections.abc import Sequence
from importlib.metadata import version as version_of

import torch
from torch import Tensor

from app import checkpoint
from app.card import Card, EpochRecord
from app.net import pick_device
from app.registry import Registry
from app.settings import Settings
from app.store import Store
from app.tables import now
from app.train import data, evaluate, promote, saved
from app.train import job as jobs
from app.train.hyperparameters import Hyperparameters
from app.train.loop import Step, fit
from app.train.recipes import RECIPES, Setup


class Diverged(Exception):
    """The loss is not a finite number any more; the message says what may help."""


class Training:
    """What one attempt knows while it runs. Raises NoData, BadDevice, Diverged, Superseded."""

    def __init__(
        self, settings: Settings, store: Store, registry: Registry, job_id: str, attempt: int
    ) -> None:
        self.store, self.registry, self.attempt = store, registry, attempt
        self.job = jobs.get(store, job_id)
        self.wanted = Hyperparameters(**self.job.hyperparameters)
        self.device = pick_device(self.wanted.device or settings.effective_train_device)
        self.data_dir = settings.data_dir
        self.saved = saved.path_of(settings.jobs_dir, job_id)
        self.epochs = [EpochRecord(**epoch) for epoch in self.job.epochs]
        shown = self.job.progress or {"epoch": -1, "batch": 0}
        self.shown = (shown["epoch"], shown["batch"])

    def run(self) -> None:
        """Train, evaluate, store the version, promote it by the job's rule, end the job."""
        dataset = data.load(self.data_dir)
        torch.manual_seed(self.job.hyperparameters["seed"])
        setup = RECIPES[self.wanted.recipe](self.wanted, dataset.train, self.device)
        self._train(setup, dataset)
        card = self._version(setup, dataset)
        verdict = self._promote(card)
        result = {"version": card.version, "test_accuracy": card.test_accuracy}
        jobs.succeed(self.store, self.job.id, self.attempt, result | verdict._asdict())

    def _train(self, setup: Setup, dataset: data.Dataset) -> None:
        first = saved.restore(self.saved, setup.model, setup.optimizer)
        clock = Clock(len(setup.batches), range(first, self.wanted.epochs))
        losses: list[Tensor] = []
        for step in fit(
            setup.model, setup.optimizer, setup.batches, epochs=clock.epochs, device=self.device
        ):
            losses.append(step.loss)
            if step.is_logged:
                self._tell(step, clock)
            if step.ends_epoch:
                self._end_epoch(step.epoch, losses, clock, setup, dataset)
                losses = []

    def _tell(self, step: Step, clock: "Clock") -> None:
        loss = step.loss.item()
        if not math.isfinite(loss):
            raise Diverged(
                f"The loss became {loss} in epoch {step.epoch}, batch {step.batch}: "
                f"try a learning_rate below {self.wanted.learning_rate}."
            )
        if (
            step.epoch,
            step.batch,
        ) > self.shown:  # a resumed job repeats what it has shown, exactly
            shown = {"epoch": step.epoch, "batch": step.batch, "loss": loss}
            progress = clock.progress(step)
            jobs.record(self.store, self.job.id, self.attempt, "batch", shown, progress=progress)

    def _end_epoch(
        self,
        epoch: int,
        losses: Sequence[Tensor],
        clock: "Clock",
        setup: Setup,
        dataset: data.Dataset,
    ) -> None:
        scored = evaluate.score(setup.model, dataset.test, self.device)
        if epoch >= len(self.epochs):
            ended = EpochRecord(
                epoch=epoch,
                train_loss=torch.stack(list(losses)).mean().item(),
                test_loss=scored.loss,
                test_accuracy=scored.accuracy,
                seconds=clock.lap(),
            )
            self.epochs.append(ended)
            all_epochs = [each.model_dump() for each in self.epochs]
            told = ended.model_dump()
            jobs.record(self.store, self.job.id, self.attempt, "epoch", told, epochs=all_epochs)
        saved.save(self.saved, setup.model, setup.optimizer, epoch + 1)
        jobs.got_further(self.store, self.job.id, self.attempt)

    def _version(self, setup: Setup, dataset: data.Dataset) -> Card:
        """Store the version, or find it where an earlier attempt stored it and died then."""
        for card in self.registry.cards():
            if card.job == self.job.id:
                return card
        weights = setup.model.state_dict()
        metrics = evaluate.measure(setup.model, dataset, self.device)
        self._begin_finish()
        card = Card(
            **metrics.model_dump(),
            origin="trained",
            created_at=now(),
            recipe=self.wanted.recipe,
            hyperparameters=self.job.hyperparameters,
            epochs=self.epochs,
            seconds=sum(epoch.seconds for epoch in self.epochs),
            job=self.job.id,
            parent=self.registry.current(),
            note=self.wanted.note,
            data_digest=dataset.digest,
            weights_digest=checkpoint.digest(weights),
            device=str(self.device),
            threads=torch.get_num_threads(),
            torch_version=torch.__version__,
            code_version=version_of("mynet"),
        )
        return self.registry.card(self.registry.save(weights, card))

    def _promote(self, new: Card) -> promote.Verdict:
        current = self.registry.current()
        if current == new.version:  # an earlier attempt promoted it and died then
            current = new.parent
        verdict = promote.judge(
            self.wanted.promote, new, None if current is None else self.registry.card(current)
        )
        if verdict.promoted:
            self._begin_finish()
            self.registry.promote(new.version)
        return verdict

    def _begin_finish(self) -> None:
        """Make sure that this attempt is the one that may store and promote."""
        jobs.begin_finish(self.store, self.job.id, self.attempt)


class Clock:
    """How long epochs take, and how long the rest will."""

    def __init__(self, batches: int, epochs: range) -> None:
        self.batches, self.epochs = batches, epochs
        self.started = self.lap_started = time.monotonic()

    def lap(self) -> float:
        """Give the seconds since the last lap."""
        last, self.lap_started = self.lap_started, time.monotonic()
        return self.lap_started - last

    def progress(self, step: Step) -> dict[str, float]:
        """Say how far the job is; `eta` is in seconds, at the speed of this attempt so far."""
        steps = step.epoch * self.batches + step.batch
        first, last = self.epochs.start * self.batches, self.epochs.stop * self.batches
        seconds_per_step = (time.monotonic() - self.started) / (steps - first)
        return {
            "epoch": step.epoch,
            "epochs": self.epochs.stop,
            "batch": step.batch,
            "batches": step.batches,
            "fraction": steps / last,
            "eta": (last - steps) * seconds_per_step,
        }
