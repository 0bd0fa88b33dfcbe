"""MLflow run of a job: parameters, metrics of each epoch, tags, artifacts.

Logging is idempotent: a job has one run, and each of its metrics is logged once.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Metric, Param, Run, RunTag, ViewType
from mlflow.store.db.db_types import DATABASE_ENGINES

from app.database.tables import Job
from app.telemetry.logs import redact
from app.train.jobs.job import Status
from app.versions.card import Card, EpochRecord

JOB_TAG: Final = "mynet.job"
# Set on a run whose artifacts could not be stored, until they are.
ARTIFACTS_TAG: Final = "mynet.artifacts"
DESCRIPTION_TAG: Final = "mlflow.note.content"
RUNNING: Final = "RUNNING"
RUN_STATUSES: Final = {
    Status.SUCCEEDED: "FINISHED",
    Status.FAILED: "FAILED",
    Status.CANCELLED: "KILLED",
}
EPOCH_METRICS: Final = (
    *("train_loss", "validation_loss", "validation_accuracy", "test_loss", "test_accuracy"),
    "seconds",
)
CARD_METRICS: Final = ("test_accuracy", "test_loss", "calibration_error", "temperature")
MAX_TAG_LENGTH: Final = 1000  # stores keep at least 5,000 characters
MAX_BATCH_METRICS: Final = 500  # metrics per request; servers reject more than a thousand
Point = tuple[str, int]  # a metric's name and its step


@dataclass(frozen=True)
class CreatedVersion:
    """The version that a job created: its file, and its card."""

    file: Path
    card: Card


class Runs:
    """The runs of one experiment, which is created if it does not exist.

    If MLflow writes to a database by itself, the artifacts go to `artifacts_dir`. Its own default
    would be a folder `mlruns` in the current one.

    Every method can raise MLflow's own errors, and OSError.
    """

    def __init__(self, experiment: str, artifacts_dir: Path) -> None:
        self._client = MlflowClient()
        existing = self._client.get_experiment_by_name(experiment)
        location = _artifact_location(self._client.tracking_uri, artifacts_dir)
        self._experiment = (
            existing.experiment_id
            if existing
            else self._client.create_experiment(experiment, location)
        )

    def log_job(
        self, job: Job, sweep_id: str | None, version: CreatedVersion | None
    ) -> Exception | None:
        """Log everything that the job's run lacks, and end the run if the job is final.

        A run that was ended or deleted in MLflow stays unchanged. Returns the error if the
        artifacts could not be stored: the run ends nevertheless, and a later call tries again.
        """
        run = self._find(job.id) or self._begin(job)
        if run.info.lifecycle_stage != LifecycleStage.ACTIVE:
            return None
        if run.info.status == RUNNING:
            self._log_data(run, job, sweep_id, version)
        elif ARTIFACTS_TAG not in run.data.tags:
            return None
        error = self._store_artifacts(run, version) if version else None
        if status := RUN_STATUSES.get(Status(job.status)):
            end_ms = _milliseconds(job, job.finished_at)
            self._client.set_terminated(run.info.run_id, status, end_ms)
        return error

    def _log_data(
        self, run: Run, job: Job, sweep_id: str | None, version: CreatedVersion | None
    ) -> None:
        run_id = run.info.run_id
        logged = set(self._points(run))
        metrics = [
            metric for metric in _metrics(job, version) if (metric.key, metric.step) not in logged
        ]
        params = [param for param in _params(job) if param.key not in run.data.params]
        self._client.log_batch(run_id, params=params, tags=[*_tags(job, sweep_id)])
        for first in range(0, len(metrics), MAX_BATCH_METRICS):
            self._client.log_batch(run_id, metrics=metrics[first : first + MAX_BATCH_METRICS])

    def _store_artifacts(self, run: Run, version: CreatedVersion) -> Exception | None:
        """Store the weights and the card, or return the error and say so in a tag of the run."""
        run_id = run.info.run_id
        try:
            self._client.log_artifact(run_id, str(version.file))
            self._client.log_text(run_id, version.card.model_dump_json(indent=2), "card.json")
        except Exception as error:  # any: it is that of a store of artifacts
            text = f"could not be stored: {redact(str(error))}"
            self._client.set_tag(run_id, ARTIFACTS_TAG, text[:MAX_TAG_LENGTH])
            return error
        if ARTIFACTS_TAG in run.data.tags:
            self._client.delete_tag(run_id, ARTIFACTS_TAG)
        return None

    def _find(self, job_id: str) -> Run | None:
        runs = self._client.search_runs(
            [self._experiment], f"tags.`{JOB_TAG}` = '{job_id}'", ViewType.ALL, max_results=1
        )
        return runs[0] if runs else None

    def _begin(self, job: Job) -> Run:
        return self._client.create_run(
            self._experiment,
            start_time=_milliseconds(job, job.started_at),
            tags={JOB_TAG: job.id},
            run_name=job.id,
        )

    def _points(self, run: Run) -> Iterator[Point]:
        for name in run.data.metrics:
            for metric in self._client.get_metric_history(run.info.run_id, name):
                yield name, metric.step


def _artifact_location(tracking_uri: str, artifacts_dir: Path) -> str | None:
    """Return where the artifacts of an experiment go, or None if MLflow knows a place."""
    dialect = tracking_uri.partition(":")[0].partition("+")[0]
    return artifacts_dir.absolute().as_uri() if dialect in DATABASE_ENGINES else None


def _params(job: Job) -> Iterator[Param]:
    for name, value in job.hyperparameters.items():
        if value is not None:
            yield Param(name, str(value))


def _metrics(job: Job, version: CreatedVersion | None) -> Iterator[Metric]:
    epochs = [EpochRecord(**epoch) for epoch in job.epochs]
    start_ms = _milliseconds(job, job.started_at)
    elapsed = accumulate(epoch.seconds for epoch in epochs)
    for epoch, seconds in zip(epochs, elapsed, strict=True):
        for name in EPOCH_METRICS:
            if (value := getattr(epoch, name)) is not None:
                yield Metric(name, value, start_ms + int(seconds * 1000), epoch.epoch)
    if version:
        end_ms = _milliseconds(job, job.finished_at)
        for name, value in _final_metrics(version.card):
            yield Metric(f"final_{name}", value, end_ms, len(epochs) - 1)


def _final_metrics(card: Card) -> Iterable[tuple[str, float]]:
    low, high = card.test_accuracy_interval
    yield from (("test_accuracy_low", low), ("test_accuracy_high", high))
    for name in CARD_METRICS:
        if (value := getattr(card, name)) is not None:
            yield name, value


def _tags(job: Job, sweep_id: str | None) -> Iterator[RunTag]:
    tags: dict[str, Any] = {"recipe": job.hyperparameters["recipe"], "attempt": job.attempt}
    tags |= {name: (job.result or {}).get(name) for name in ("version", "promoted", "reason")}
    tags["sweep"] = sweep_id
    tags |= {"error": job.error["message"] if job.error else None}
    for name, value in tags.items():
        if value is not None:
            yield RunTag(f"mynet.{name}", str(value))
    if note := job.hyperparameters.get("note"):
        yield RunTag(DESCRIPTION_TAG, note)


def _milliseconds(job: Job, time: Any) -> int:
    return int((time or job.created_at).timestamp() * 1000)
