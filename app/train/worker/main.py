"""Worker process: runs one attempt of a job.

The supervisor starts it and writes the assignment, one line of JSON, to its standard input. The
input stays open while the supervisor runs. A standby process waits for that line: see
`app.train.supervisor.standby`.
"""

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import torch

from app.database.database import Database
from app.database.jobs import JobStore
from app.database.sweeps import SweepStore
from app.devices import DeviceUnavailable
from app.errors import NotReady
from app.mnist.dataset import RAW, DatasetUnavailable
from app.subprocesses import exit_gracefully_with_parent
from app.telemetry import logs, tracing_setup
from app.telemetry.tracing import Attributes, EndStage, Tracing, no_attempt
from app.train.jobs import job as jobs
from app.train.jobs import sweep
from app.train.jobs.assignment import Assignment
from app.train.jobs.fenced_writer import Superseded
from app.train.jobs.job import Status
from app.train.jobs.phase import Phase
from app.train.recipes import dataset as data
from app.train.recipes.dataset import Dataset
from app.train.worker import corrections, state, training_data
from app.train.worker.attempt import Diverged, JobAttempt, PeerLost, Stopped
from app.train.worker.finish import finish
from app.train.worker.heartbeat import FolderGrowth, Heartbeat
from app.train.worker.state import Checkpointer, FileCheckpointer, hold_out
from app.train.worker.state_replica import job_files
from app.train.worker.trainer import Trainer
from app.versions.bucket.object_store import BucketUnavailable
from app.versions.opening import open_registry
from app.versions.retention import delete_old_versions

if TYPE_CHECKING:
    from app.train.worker.ddp import DataParallelGroup

EXIT_IO_ERROR: Final = os.EX_IOERR
# Seconds between two attempts to reach a bucket that is unavailable.
RETRY_INTERVAL: Final = 2.0
JOB_ERRORS: Final = {
    DatasetUnavailable: "no_data",
    Diverged: "diverged",
    DeviceUnavailable: "bad_device",
}
T = TypeVar("T")
log = logging.getLogger("app.train.worker.main")


def main() -> None:
    line = sys.stdin.readline()
    if not line:
        return  # the supervisor has ended, or needs no standby process any longer
    assignment = Assignment.model_validate_json(line)
    stop, heartbeat = threading.Event(), Heartbeat.on_stdout()
    exit_gracefully_with_parent(stop)  # lost batches are trained again, with the same result
    with prepared_process(assignment) as traces:
        run_attempt(assignment, stop, traces, heartbeat=heartbeat)


@contextmanager
def prepared_process(assignment: Assignment) -> Iterator[Tracing | None]:
    """Set up logging and threads, and yield the tracing if it is configured."""
    settings = assignment.settings
    logs.job_id.set(assignment.job_id)
    logs.configure(settings.log_level, settings.log_format)
    torch.set_num_threads(settings.effective_train_threads)
    traces = tracing_setup.begin()
    if traces is None:
        yield None
        return
    logs.configure(settings.log_level, settings.log_format, traces.ids)
    with closing(traces):
        yield traces


def run_attempt(
    assignment: Assignment,
    stop: threading.Event,
    traces: Tracing | None = None,
    checkpointer: Checkpointer | None = None,
    group: "DataParallelGroup | None" = None,
    heartbeat: Heartbeat | None = None,
) -> None:
    """Run one attempt to its end, and record its errors in the job.

    Without `checkpointer`, the state is saved in the job's own file. Exits with `EXIT_IO_ERROR` if
    the database cannot be used. Raises PeerLost.
    """
    settings, job_id, number = assignment.settings, assignment.job_id, assignment.attempt
    heartbeat = heartbeat or Heartbeat()
    try:
        with closing(Database(settings.effective_database_url)) as database:
            store = JobStore(database)
            # The lock waits for an older attempt that has not exited: two must never write.
            with (
                _errors_recorded(store, assignment),
                state.job_lock(settings.jobs_dir, job_id),
                _trace_attempt(traces, store, job_id, number) as trace_stage,
            ):
                registry = open_registry(settings, heartbeat.beat)
                attempt = JobAttempt.begin(
                    settings, store, registry, job_id, number, trace_stage, heartbeat
                )
                checkpointer = checkpointer or FileCheckpointer(attempt.files.state)
                train_and_promote(attempt, stop, checkpointer, group)
                log.info("job succeeded: job=%s", job_id)
                _make_room(attempt, SweepStore(database))
            job_files(settings, job_id, number).clean_up(partial(_has_ended, store))
    except (NotReady, OSError) as error:
        log.error("worker process cannot continue: job=%s error=%s", job_id, error)
        sys.exit(EXIT_IO_ERROR)


@contextmanager
def _errors_recorded(store: JobStore, assignment: Assignment) -> Iterator[None]:
    """Record an error of the attempt in the job, if the attempt still runs it."""
    job_id, number = assignment.job_id, assignment.attempt
    try:
        yield
    except Stopped:
        log.info("attempt stopped, its state is saved: job=%s attempt=%d", job_id, number)
    except Superseded:
        log.info("attempt superseded: job=%s attempt=%d", job_id, number)
    except tuple(JOB_ERRORS) as error:
        log.error("job failed: job=%s error=%s", job_id, error)
        jobs.fail(store, job_id, number, JOB_ERRORS[type(error)], str(error))
    except (NotReady, PeerLost):
        raise  # nothing can be written; or the launcher restarts the attempt
    except OSError as error:
        log.error("attempt could not write: job=%s attempt=%d error=%s", job_id, number, error)
        folder = assignment.settings.state_dir
        message = f"The state folder {folder} could not be written: {error}. Check its disk."
        jobs.record_error(store, job_id, number, "storage_failed", message)
    except Exception as error:
        log.exception("attempt raised an exception: job=%s attempt=%d", job_id, number)
        jobs.record_error(store, job_id, number, "exception", f"{type(error).__name__}: {error}")


def _has_ended(store: JobStore, job_id: str) -> bool:
    job = store.job(job_id)
    return job is not None and Status(job.status).is_final


def _trace_attempt(
    traces: Tracing | None, store: JobStore, job_id: str, attempt: int
) -> AbstractContextManager[EndStage]:
    if traces is None:
        return no_attempt()
    attributes: Attributes = {"job_id": job_id, "attempt": attempt}
    return traces.attempt(store.trace_context(job_id), attributes, (Stopped, Superseded))


def train_and_promote(
    attempt: JobAttempt,
    stop: threading.Event,
    checkpointer: Checkpointer,
    group: "DataParallelGroup | None" = None,
) -> None:
    """Train the network, store it as a version, promote it, and record the result."""
    heartbeat = attempt.heartbeat
    attempt.begin_phase(Phase.LOADING)
    mnist = None
    if training_data.needs_mnist(attempt.hyperparameters):
        # A download may take minutes. If it stands still, the process is started again.
        with heartbeat.beating_while(FolderGrowth(attempt.settings.data_dir / RAW)):
            mnist = data.load(attempt.settings.data_dir)
    prepare = partial(_prepare, attempt, mnist, stop)
    message = f"bucket unavailable, job waits to resume: job={attempt.job.id}"
    dataset = _retry_while_bucket_unavailable(prepare, message, stop, heartbeat)
    with attempt.files.replicating():
        training = Trainer(attempt, dataset, stop, checkpointer, group)
        model = training.run()
    held_out, ending = training.setup.held_out, training.ending
    finish_attempt = partial(_finish, attempt, model, dataset, training.epochs, held_out, ending)
    message = f"bucket unavailable, version waits to be stored: job={attempt.job.id}"
    result = _retry_while_bucket_unavailable(finish_attempt, message, stop, heartbeat)
    attempt.writer.succeed(result)


def _make_room(attempt: JobAttempt, sweep_store: SweepStore) -> None:
    """Delete old versions. Those of running sweeps are protected, so end finished sweeps first."""
    sweep.end_finished(sweep_store)
    delete_old_versions(attempt.registry, sweep_store, attempt.settings.keep_versions)


def _prepare(attempt: JobAttempt, mnist: Dataset | None, stop: threading.Event) -> Dataset:
    """Fetch the saved state of earlier attempts, and return the data of the job."""
    attempt.files.download_newer()
    extra = None
    if training_data.needs_corrections(attempt.hyperparameters):
        extra = corrections.load_or_gather(attempt, stop)
    return hold_out(training_data.assemble(attempt, mnist, extra), attempt.hyperparameters)


def _finish(attempt: JobAttempt, *trained: Any) -> dict[str, Any]:
    attempt.registry.refresh()
    return finish(attempt, *trained)


def _retry_while_bucket_unavailable(
    step: Callable[[], T], message: str, stop: threading.Event, heartbeat: Heartbeat
) -> T:
    """Run `step` again until the bucket is available, so that no training is lost."""
    logged = False
    while True:
        heartbeat.beat()
        try:
            return step()
        except BucketUnavailable as error:
            if not logged:
                log.error("%s error=%s", message, error.problem)
            logged = True
        if stop.wait(RETRY_INTERVAL):
            raise Stopped
