"""MLflow exporter process, which logs jobs as runs: `python -m app.mlflow_tracking.worker`.

Standard input is one line of JSON with the settings; it stays open as long as the supervisor lives.
The database holds everything that is logged, so a slow or unavailable tracking server does not
affect jobs: this process retries until MLflow has all data.
"""

import logging
import os
import sys
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from filelock import FileLock
from safetensors import safe_open

from app.config.settings import Settings
from app.database.database import Database
from app.database.jobs import JobStore
from app.database.sweeps import SweepStore
from app.database.tables import Job
from app.errors import NotReady
from app.mlflow_tracking.run_logger import CreatedVersion, Runs
from app.subprocesses import exit_gracefully_with_parent
from app.telemetry import logs
from app.telemetry.logs import redact
from app.train.jobs.job import Status
from app.versions.card import Card

ARTIFACTS_DIR: Final = "mlflow-artifacts"
EXPERIMENT: Final = "MLFLOW_EXPERIMENT_NAME"
POLL_INTERVAL: Final = 0.5
RETRY_INTERVAL: Final = 15.0
# The longest time between two tries for one job.
MAX_RETRY_INTERVAL: Final = 600.0
LoggedState = tuple[str, int, int]  # state, attempt, epochs
log = logging.getLogger("app.mlflow_tracking.worker")


def main() -> None:
    settings = Settings.model_validate_json(sys.stdin.readline())
    stop = threading.Event()
    exit_gracefully_with_parent(stop)
    logs.configure(settings.log_level, settings.log_format)
    logging.captureWarnings(False)  # MLflow warns about its own code
    # The previous process may still be shutting down: two would create two runs of a job.
    with (
        FileLock(settings.state_dir / "tracking.lock"),
        closing(Database(settings.effective_database_url)) as database,
    ):
        mlflow_sync = MlflowSync(settings, database)
        while not stop.wait(POLL_INTERVAL):
            mlflow_sync.sync()
        mlflow_sync.sync(is_last=True)


@dataclass
class PendingJob:
    """A job that MLflow does not have completely yet, and when it is tried again."""

    not_before: float = 0.0
    failures: int = 0
    logged_state: LoggedState | None = None

    def is_due(self) -> bool:
        return time.monotonic() >= self.not_before

    def wait(self) -> None:
        """Wait after a failure, twice as long after each further one."""
        seconds = min(MAX_RETRY_INTERVAL, RETRY_INTERVAL * 2**self.failures)
        self.not_before = time.monotonic() + seconds
        self.failures = min(self.failures + 1, 20)


@dataclass
class Outage:
    """Errors that probably have one cause: the first is logged, until something succeeds again."""

    is_logged: bool = False

    def report(self, message: str, error: Exception) -> None:
        if not self.is_logged:
            log.error("%s: %s", message, redact(str(error)))
        self.is_logged = True

    def end(self) -> None:
        self.is_logged = False


class MlflowSync:
    """Copies jobs from the database to MLflow, also those from before MLflow was configured."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.models_dir = settings.models_dir
        self.artifacts_dir = settings.state_dir / ARTIFACTS_DIR
        self.job_store, self.sweep_store = JobStore(database), SweepStore(database)
        self._experiment = os.environ.get(EXPERIMENT) or "mynet"
        self._runs: Runs | None = None
        self._open_at = 0.0
        self._outage, self._artifacts_outage, self._database_outage = Outage(), Outage(), Outage()
        self._pending: dict[str, PendingJob] = {}
        self._known_ids: set[str] = set()

    def sync(self, *, is_last: bool = False) -> None:
        """Log what is new. If `is_last`, also retry without waiting for the back-off."""
        try:
            self._find_new_jobs()
            if self._runs is None and (is_last or time.monotonic() >= self._open_at):
                self._open()
            for job_id, pending in [*self._pending.items()]:
                if self._runs and (is_last or pending.is_due()):
                    self._sync_job(self._runs, job_id, pending)
            self._database_outage.end()
        except (NotReady, OSError) as error:
            self._database_outage.report("jobs could not be read, retrying", error)
            time.sleep(POLL_INTERVAL)

    def _find_new_jobs(self) -> None:
        new = self.job_store.new_job_ids(self._known_ids)
        self._known_ids.update(new)
        self._pending |= {job_id: PendingJob() for job_id in new}

    def _open(self) -> None:
        try:
            self._runs = Runs(self._experiment, self.artifacts_dir)
            self._outage.end()
        except Exception as error:  # any: it is MLflow's, and passes or gets fixed
            self._open_at = time.monotonic() + RETRY_INTERVAL
            self._outage.report("MLflow is unavailable, retrying", error)

    def _sync_job(self, runs: Runs, job_id: str, pending: PendingJob) -> None:
        job = self.job_store.job(job_id)
        if job is None:
            del self._pending[job_id]
            return
        state = (job.status, job.attempt, len(job.epochs))
        is_final = Status(job.status).is_final
        # A job that waits in the queue has no run, unless it is cancelled there.
        has_news = (job.attempt or is_final) and state != pending.logged_state
        if has_news and not self._log(runs, job, pending):
            pending.wait()
            return
        pending.logged_state = state
        if is_final:
            del self._pending[job_id]

    def _log(self, runs: Runs, job: Job, pending: PendingJob) -> bool:
        """Log a job, and return whether MLflow has all of it."""
        sweep_id = self.sweep_store.sweep_ids_by_job([job.id]).get(job.id)
        try:
            artifacts_error = runs.log_job(job, sweep_id, self._created_version(job))
        except Exception as error:  # any: it is MLflow's, and passes or gets fixed
            if not pending.failures:
                message = f"job {job.id} could not be logged to MLflow, retrying"
                self._outage.report(message, error)
            return False
        self._outage.end()
        if artifacts_error:
            message = f"artifacts of job {job.id} could not be stored in MLflow, retrying"
            self._artifacts_outage.report(message, artifacts_error)
            return False
        if job.result:
            self._artifacts_outage.end()
        return True

    def _created_version(self, job: Job) -> CreatedVersion | None:
        """Return the version that the job created, unless it has been deleted."""
        if not job.result:
            return None
        version = job.result["version"]
        file = self.models_dir / f"{version}.safetensors"
        if not file.exists():
            return None
        # Not through the registry, because PyTorch would take half a gigabyte.
        with safe_open(file, framework="np") as reader:
            card = Card.model_validate_json(reader.metadata()["card"])
        return CreatedVersion(file, card.model_copy(update={"version": version}))


if __name__ == "__main__":
    main()
