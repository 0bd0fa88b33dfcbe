"""A training followed on the terminal.

What enters: hyperparameters. What leaves: a job, and its progress as a bar with loss and ETA. Where
no service supervises the state folder, the job is supervised from here. This module does not know
how a network is trained.
"""

import time
from contextlib import ExitStack, closing
from typing import Final

from rich.console import Console

from app.cli import output
from app.config.settings import Settings
from app.database.database import Database
from app.database.jobs import JobStore
from app.database.leases import LeaseStore
from app.database.tables import Job
from app.startup import check_tracking, open_database
from app.train.jobs import job as jobs
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.jobs.job import Status
from app.train.supervisor.supervisor import Supervisor

POLL: Final = 0.2


def train(
    settings: Settings, hyperparameters: Hyperparameters, console: Console, *, follow: bool
) -> bool:
    """Queue a job, and stay with it where `follow` says so. Says whether all went well.

    Raises QueueFull, StartupError.
    """
    if follow:
        check_tracking()
    with closing(open_database(settings)) as database:
        return _train(settings, database, hyperparameters, console, follow=follow)


def _train(
    settings: Settings,
    database: Database,
    hyperparameters: Hyperparameters,
    console: Console,
    *,
    follow: bool,
) -> bool:
    store = JobStore(database)
    job = jobs.create(store, hyperparameters, max_queued=settings.train_queue, key=None)
    console.print(f"job {job.id}, seed {job.hyperparameters['seed']}")
    if not follow:
        if LeaseStore(database).holder() is None:
            console.print("It starts with the next `mynet serve`, or now with --follow.")
        return True
    with ExitStack() as stack:
        # It only supervises where nobody else does; with Ctrl-C the job is queued again.
        quiet = settings.model_copy(update={"log_level": "error"})
        stack.enter_context(Supervisor(quiet, database))
        try:
            bar = output.JobProgressBar(stack.enter_context(output.progress(console)))
            ended = _show(store, job, bar)
        except KeyboardInterrupt:
            console.print("The job is kept: it goes on with a service, or the next --follow.")
            raise
    return output.ended(console, ended.status, ended.result, ended.error)


def _show(store: JobStore, job: Job, bar: output.JobProgressBar) -> Job:
    after = 0
    while True:
        current = jobs.get(store, job.id)
        for event in store.events(job.id, after):
            after = event.number
            bar.on_event(event.kind, event.data)
        bar.update(current.status, current.progress)
        if Status(current.status).is_final:
            return current
        time.sleep(POLL)
