"""Phases of a job on the terminal: in the list, in the job, and in the progress bar."""

import io
from contextlib import closing

from rich.console import Console
from rich.progress import Progress

from app.cli.follow import JobProgressBar
from app.config.settings import load_settings
from app.database.database import Database
from app.database.jobs import JobStore
from app.train.jobs import job as jobs
from app.train.jobs.fenced_writer import FencedWriter
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.jobs.phase import Phase

DRAWING = "drawing 12,000 of 36,000"


def test_list_and_job_show_the_phase(mynet):
    mynet("jobs")  # makes the database
    with closing(Database(load_settings().effective_database_url)) as database:
        store = JobStore(database)
        job = jobs.create(store, Hyperparameters(), max_queued=9, key=None)
        writer = FencedWriter(store, job.id, jobs.start(store, job))
        writer.begin_phase(Phase.DRAWING, 12_000, 36_000)
        assert DRAWING in mynet("jobs").stdout
        assert f"phase            {DRAWING}\n" in mynet("job", job.id).stdout
        writer.begin_phase(Phase.TRAINING)
        assert "training" not in mynet("jobs").stdout
        jobs.cancel(store, job.id)
        assert "phase" not in mynet("job", job.id).stdout


def test_progress_bar_shows_the_phase():
    progress = Progress(console=Console(file=io.StringIO()))
    bar, (task,) = JobProgressBar(progress), progress.tasks
    descriptions = []
    for kind, data in [
        ("status", {"status": "running", "attempt": 1}),
        ("phase", {"name": "loading"}),
        ("phase", {"name": "drawing", "done": 12_000, "total": 36_000}),
        ("batch", {"epoch": 0, "batch": 100, "loss": 1.5}),
    ]:
        bar.on_event(kind, data)
        descriptions.append(task.description)
    assert descriptions == ["starting", "loading", DRAWING, "epoch 0, loss 1.5000"]
