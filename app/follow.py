"""A training followed on the terminal.

What enters: hyperparameters. What leaves: a job, and its progress as a bar with loss and ETA. Where
no service supervises the state folder, the job is supervised from here. This module does not know
how a network is trained.
"""

import time
from contextlib import ExitStack, closing
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from app.settings import Settings
from app.start import open_store
from app.store import Store
from app.tables import Job
from app.train import job as jobs
from app.train.hyperparameters import Hyperparameters
from app.train.job import Status
from app.train.supervisor import Supervisor

POLL: Final = 0.2


def train(settings: Settings, wanted: Hyperparameters, console: Console, *, follow: bool) -> bool:
    """Queue a job, and stay with it where `follow` says so. Says whether all went well.

    Raises Busy.
    """
    with closing(open_store(settings)) as store:
        return _train(settings, store, wanted, console, follow=follow)


def _train(
    settings: Settings, store: Store, wanted: Hyperparameters, console: Console, *, follow: bool
) -> bool:
    job = jobs.create(store, wanted, most_queued=settings.train_queue, key=None)
    console.print(f"job {job.id}, seed {job.hyperparameters['seed']}")
    if not follow:
        if store.lease_holder() is None:
            console.print("It starts with the next `mynet serve`, or now with --follow.")
        return True
    with ExitStack() as stack:
        # It only supervises where nobody else does; with Ctrl-C the job is queued again.
        quiet = settings.model_copy(update={"log_level": "error"})
        stack.enter_context(Supervisor(quiet, store))
        try:
            ended = _show(store, job, stack.enter_context(_progress(console)))
        except KeyboardInterrupt:
            console.print("The job is kept: it goes on with a service, or the next --follow.")
            raise
    return _tell(ended, console)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        console=console,
    )


def _show(store: Store, job: Job, progress: Progress) -> Job:
    task = progress.add_task("queued", total=1.0, left="")
    after = 0
    while True:
        current = jobs.get(store, job.id)
        events = store.events(job.id, after)
        for event in events:
            after = event.number
            if event.kind == "epoch":
                accuracy = 100 * event.data["test_accuracy"]
                progress.print(f"epoch {event.data['epoch']}: {accuracy:.2f} % of the test images")
        losses = [event.data["loss"] for event in events if event.kind == "batch"]
        _advance(progress, task, current, losses)
        if Status(current.status).is_final:
            return current
        time.sleep(POLL)


def _advance(progress: Progress, task: TaskID, job: Job, losses: list[float]) -> None:
    if job.progress:
        progress.update(task, completed=job.progress["fraction"])
        progress.update(task, left=f"{job.progress['eta']:.0f} s left")
    if losses and job.progress:
        progress.update(task, description=f"epoch {job.progress['epoch']}, loss {losses[-1]:.4f}")
    elif not job.progress or job.status != Status.RUNNING:
        progress.update(task, description=job.status)


def _tell(job: Job, console: Console) -> bool:
    if job.status != Status.SUCCEEDED or not job.result:
        reason = job.error["message"] if job.error else ""
        console.print(f"{job.status}: {reason}", markup=False)
        return False
    live = "is live" if job.result["promoted"] else "does not go live"
    console.print(f"version {job.result['version']} {live}: {job.result['reason']}", markup=False)
    return True
