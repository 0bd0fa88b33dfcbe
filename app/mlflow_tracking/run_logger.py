"""A job as a run of MLflow: parameters, metrics per epoch, tags, artefacts.

What enters: a job's row, its sweep's id, and the version that it made. What leaves: one run a job,
which has all of it once, however often it is told. This module does not know when it is told, nor
by whom.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Metric, Param, Run, RunTag, ViewType

from app.database.tables import Job
from app.train.jobs.job import Status
from app.versions.card import Card, EpochRecord

JOB: Final = "mynet.job"
DESCRIPTION: Final = "mlflow.note.content"
RUNNING: Final = "RUNNING"
ENDS: Final = {
    Status.SUCCEEDED: "FINISHED",
    Status.FAILED: "FAILED",
    Status.CANCELLED: "KILLED",
}
PER_EPOCH: Final = ("train_loss", "test_loss", "test_accuracy", "seconds")
OF_CARD: Final = ("test_accuracy", "test_loss", "calibration_error", "temperature")
MOST: Final = 500  # metrics that are sent at once; servers refuse more than a thousand
Point = tuple[str, int]  # a metric's name and its step


@dataclass(frozen=True)
class CreatedVersion:
    """The version that a job made: its file, and its card."""

    file: Path
    card: Card


class Runs:
    """The runs of one experiment, which is made where it is missing.

    Every method raises MLflow's own errors, and OSError.
    """

    def __init__(self, experiment: str) -> None:
        self._client = MlflowClient()
        known = self._client.get_experiment_by_name(experiment)
        self._experiment = (
            known.experiment_id if known else self._client.create_experiment(experiment)
        )

    def log_job(self, job: Job, sweep_id: str | None, made: CreatedVersion | None) -> None:
        """Log what the job's run does not have yet, and end it where the job has ended.

        A run that somebody ended or deleted stays as it is.
        """
        run = self._find(job.id) or self._begin(job)
        if run.info.status != RUNNING or run.info.lifecycle_stage != LifecycleStage.ACTIVE:
            return
        run_id = run.info.run_id
        has = set(self._points(run))
        metrics = [each for each in _metrics(job, made) if (each.key, each.step) not in has]
        params = [each for each in _params(job) if each.key not in run.data.params]
        self._client.log_batch(run_id, params=params, tags=[*_tags(job, sweep_id)])
        for first in range(0, len(metrics), MOST):
            self._client.log_batch(run_id, metrics=metrics[first : first + MOST])
        if made:
            self._client.log_artifact(run_id, str(made.file))
            self._client.log_text(run_id, made.card.model_dump_json(indent=2), "card.json")
        if status := ENDS.get(Status(job.status)):
            self._client.set_terminated(run_id, status, _milliseconds(job, job.finished_at))

    def _find(self, job_id: str) -> Run | None:
        runs = self._client.search_runs(
            [self._experiment], f"tags.`{JOB}` = '{job_id}'", ViewType.ALL, max_results=1
        )
        return runs[0] if runs else None

    def _begin(self, job: Job) -> Run:
        return self._client.create_run(
            self._experiment,
            start_time=_milliseconds(job, job.started_at),
            tags={JOB: job.id},
            run_name=job.id,
        )

    def _points(self, run: Run) -> Iterator[Point]:
        for name in run.data.metrics:
            for metric in self._client.get_metric_history(run.info.run_id, name):
                yield name, metric.step


def _params(job: Job) -> Iterator[Param]:
    for name, value in job.hyperparameters.items():
        if value is not None:
            yield Param(name, str(value))


def _metrics(job: Job, made: CreatedVersion | None) -> Iterator[Metric]:
    epochs = [EpochRecord(**epoch) for epoch in job.epochs]
    begun = _milliseconds(job, job.started_at)
    passed = accumulate(epoch.seconds for epoch in epochs)
    for epoch, seconds in zip(epochs, passed, strict=True):
        for name in PER_EPOCH:
            yield Metric(name, getattr(epoch, name), begun + int(seconds * 1000), epoch.epoch)
    if made:
        at = _milliseconds(job, job.finished_at)
        for name, value in _finals(made.card):
            yield Metric(f"final_{name}", value, at, len(epochs) - 1)


def _finals(card: Card) -> Iterable[tuple[str, float]]:
    low, high = card.test_accuracy_interval
    yield from (("test_accuracy_low", low), ("test_accuracy_high", high))
    for name in OF_CARD:
        if (value := getattr(card, name)) is not None:
            yield name, value


def _tags(job: Job, sweep_id: str | None) -> Iterator[RunTag]:
    told: dict[str, Any] = {"recipe": job.hyperparameters["recipe"], "attempt": job.attempt}
    told |= {name: (job.result or {}).get(name) for name in ("version", "promoted", "reason")}
    told["sweep"] = sweep_id
    told |= {"error": job.error["message"] if job.error else None}
    for name, value in told.items():
        if value is not None:
            yield RunTag(f"mynet.{name}", str(value))
    if note := job.hyperparameters.get("note"):
        yield RunTag(DESCRIPTION, note)


def _milliseconds(job: Job, at: Any) -> int:
    return int((at or job.created_at).timestamp() * 1000)
