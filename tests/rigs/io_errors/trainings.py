"""A job from the queue to its end: the supervisor or the training process meets the fault."""

import time
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Final

from app.config.settings import Settings
from app.database.jobs import JobStore
from app.feedback import FeedbackStore
from app.startup import open_database, prepare_worker
from app.train.jobs import job as jobs
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.jobs.job import Status
from app.train.supervisor.supervisor import Supervisor, Timing
from tests.rigs.io_errors.service import drawn_digits
from tests.rigs.io_errors.training_processes import TrainingProcesses
from tests.rigs.io_errors.trial import Operation, Refusal, tells_cause, temporary_files

TIMING: Final = Timing(poll=0.01, busy=0.01, idle=0.01, retry=0.02, back_off=0.01)
TIMEOUT: Final = 240.0
CLEAN_UP_TIMEOUT: Final = 120.0
HYPERPARAMETERS: Final = Hyperparameters(
    epochs=1, seed=1, promote="always", include_feedback=True, keep_checkpoints=True
)


def operation(settings: Settings, stack: ExitStack) -> Operation:
    """Return the run of a job. `stack` ends the processes."""
    database = stack.enter_context(closing(open_database(settings)))
    registry = prepare_worker(settings, database)
    store, processes = JobStore(database), stack.enter_context(TrainingProcesses())
    feedback = FeedbackStore(settings.feedback_dir, settings.max_feedback)
    feedback.add(drawn_digits(2)[0][1], 1)
    supervisor = partial(Supervisor, settings, database, start=processes.start, timing=TIMING)
    job_id = ""

    def queue() -> None:
        nonlocal job_id
        store.delete_jobs([job.id for job in store.jobs()])  # so that each try has as many calls
        job_id = jobs.create(store, HYPERPARAMETERS, max_queued=1, key=None).id

    def run() -> None:
        job = jobs.get(store, job_id)
        if Status(job.status).is_final:  # the next try is another job
            queue()
        with supervisor():
            _wait_for_end(store, job_id)
        _check_end(store, job_id)

    def succeeded() -> int:
        """Return how many jobs succeeded; each has one version, and the last of them is live."""
        cards = [card for card in registry.cards() if card.job and card.checkpoint is None]
        rows = store.jobs(Status.SUCCEEDED, limit=10**6)
        versions = {card.job: card.version for card in cards}
        assert len(versions) == len(cards), "a job has two versions"
        if rows:
            newest = rows[0]
            assert newest.result["version"] == versions[newest.id] == registry.current(), "not live"
        return len(rows)

    def files() -> list[Path]:
        return [*temporary_files(settings.state_dir), *settings.jobs_dir.iterdir()]

    def leftovers() -> list[str]:
        """Return what is left after the next start, which is one more supervisor."""
        deadline = time.monotonic() + CLEAN_UP_TIMEOUT
        with supervisor():
            while (paths := files()) and time.monotonic() < deadline:
                time.sleep(TIMING.poll)
        return [path.name for path in paths]

    return Operation(run, succeeded, queue, leftovers=leftovers)


def _check_end(store: JobStore, job_id: str) -> None:
    """Raise Refusal if the job failed, AssertionError if it was requeued without the cause."""
    job = jobs.get(store, job_id)
    if job.status != Status.SUCCEEDED:
        error = job.error or {"code": job.status, "message": "no reason"}
        raise Refusal(503, error["code"], error["message"])
    events = store.events(job_id, kind="status")
    reasons = [event.data["reason"] for event in events if "reason" in event.data]
    silent = [reason for reason in reasons if not tells_cause(reason)]
    assert not silent, f"requeued without the cause: {silent}"


def _wait_for_end(store: JobStore, job_id: str) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not Status(jobs.get(store, job_id).status).is_final:
        assert time.monotonic() < deadline, "the job does not end"
        time.sleep(TIMING.poll)
