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

EXPERIMENT: Final = "MLFLOW_EXPERIMENT_NAME"
POLL_INTERVAL: Final = 0.5
RETRY_INTERVAL: Final = 15.0
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
class Backoff:
    """A pause after an error of MLflow, which is logged once."""

    not_before: float = 0.0
    logged: bool = False

    def is_over(self) -> bool:
        return time.monotonic() >= self.not_before

    def begin(self, message: str, error: Exception) -> None:
        self.not_before = time.monotonic() + RETRY_INTERVAL
        if not self.logged:
            self.logged = True
            log.error("%s: %s", message, redact(str(error)))


@dataclass
class PendingJob(Backoff):
    """A job that MLflow does not have completely yet."""

    logged_state: LoggedState | None = None


class MlflowSync:
    """Copies jobs from the database to MLflow, also those from before MLflow was configured."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self.models_dir = settings.models_dir
        self.job_store, self.sweep_store = JobStore(database), SweepStore(database)
        self._experiment = os.environ.get(EXPERIMENT) or "mynet"
        self._runs: Runs | None = None
        self._backoff = Backoff()
        self._pending: dict[str, PendingJob] = {}
        self._last_number = 0

    def sync(self, *, is_last: bool = False) -> None:
        """Log what is new. If `is_last`, also retry without waiting for the back-off."""
        try:
            self._find_new_jobs()
            if self._runs is None and (is_last or self._backoff.is_over()):
                self._open()
            for job_id, pending in [*self._pending.items()]:
                if self._runs and (is_last or pending.is_over()):
                    self._sync_job(self._runs, job_id, pending)
        except (NotReady, OSError) as error:
            log.error("jobs could not be read: %s", error)
            time.sleep(POLL_INTERVAL)

    def _find_new_jobs(self) -> None:
        while jobs := self.job_store.jobs_after(self._last_number):
            self._last_number = jobs[-1].number
            self._pending |= {job.id: PendingJob() for job in jobs}

    def _open(self) -> None:
        try:
            self._runs = Runs(self._experiment)
        except Exception as error:  # any: it is MLflow's, and passes or gets fixed
            self._backoff.begin("MLflow is unavailable, retrying", error)

    def _sync_job(self, runs: Runs, job_id: str, pending: PendingJob) -> None:
        job = self.job_store.job(job_id)
        if job is None:
            del self._pending[job_id]
            return
        state = (job.status, job.attempt, len(job.epochs))
        sweep_id = self.sweep_store.sweep_ids_by_job([job_id]).get(job_id)
        try:
            if job.attempt and state != pending.logged_state:
                runs.log_job(job, sweep_id, self._created_version(job))
                pending.logged_state = state
        except Exception as error:  # any: it is MLflow's, and passes or gets fixed
            pending.begin(f"job {job_id} could not be logged to MLflow, retrying", error)
            return
        if Status(job.status).is_final:
            del self._pending[job_id]

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
