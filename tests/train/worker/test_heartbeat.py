"""Heartbeats of a worker process: where they are sent, and how often."""

import os
import secrets
import subprocess
import sys
import threading
from collections import Counter

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from app import startup
from app.datasets.catalogue import open_datasets
from app.mnist.files import LabelledImages
from app.train.jobs import job
from app.train.jobs.assignment import Assignment
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.jobs.phase import Phase
from app.train.recipes import drawn_images
from app.train.worker import heartbeat, main, state_replica
from app.train.worker.attempt import JobAttempt
from app.train.worker.heartbeat import FolderGrowth, Heartbeat
from app.train.worker.state import FileCheckpointer
from app.versions.bucket import object_store
from app.versions.bucket.object_store import Bucket
from tests.train.worker.test_resume import interrupt_after


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    for end in (reading, writing):
        os.set_blocking(end, False)
    yield reading, writing
    os.close(reading)
    os.close(writing)


def read(reading):
    try:
        return os.read(reading, 1_000_000)
    except BlockingIOError:
        return b""


def test_beats_are_sent_at_most_once_a_second(pipe):
    reading, writing = pipe
    beating = Heartbeat(writing)
    for _ in range(1000):
        beating.beat()
    assert len(read(reading)) in (1, 2)


def test_a_full_pipe_blocks_nothing(pipe, monkeypatch):
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.0)
    beating = Heartbeat(pipe[1])
    for _ in range(70_000):  # a pipe holds 65,536 bytes
        beating.beat()


def test_what_a_worker_prints_is_no_heartbeat():
    code = "from app.train.worker.heartbeat import Heartbeat\n"
    code += "beating = Heartbeat.on_stdout(); print('text'); beating.beat()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b".", b"text\n")


def test_a_folder_grows_while_a_file_is_downloaded(tmp_path):
    has_grown = FolderGrowth(tmp_path)
    assert not has_grown()
    (tmp_path / "archive").write_bytes(b"1234")
    assert has_grown()
    assert not has_grown()
    assert not FolderGrowth(tmp_path / "missing")()


def test_a_call_that_cannot_beat_is_beaten_for_while_it_proceeds(pipe, monkeypatch):
    monkeypatch.setattr(heartbeat, "INTERVAL", 0.01)
    beating, calls = Heartbeat(pipe[1]), threading.Semaphore(0)

    def proceeds():
        calls.release()
        return True

    with beating.beating_while(proceeds):
        for _ in range(3):
            assert calls.acquire(timeout=120)
    assert read(pipe[0])


class CountedHeartbeat(Heartbeat):
    """Counts the beats of each phase."""

    def __init__(self):
        super().__init__()
        self.phase, self.counts = Phase.STARTING, Counter()

    def beat(self):
        self.counts[self.phase] += 1


@pytest.fixture
def count_beats(monkeypatch):
    """Return a function that performs an attempt, and counts its beats by phase."""

    def count_beats(run):
        counted, real = CountedHeartbeat(), JobAttempt.begin_phase

        def begin_phase(attempt, phase, *counts):
            counted.phase = phase
            real(attempt, phase, *counts)

        monkeypatch.setattr(JobAttempt, "begin_phase", begin_phase)
        object.__setattr__(run.attempt, "heartbeat", counted)
        checkpointer = FileCheckpointer(run.attempt.files.state)
        main.train_and_promote(run.attempt, run.stop, checkpointer)
        return counted.counts

    return count_beats


def test_each_phase_each_batch_and_each_evaluation_beats(start, count_beats):
    begin = step = 1  # a step is tried again if it needs a bucket
    first, batches = 1, 3 * 200  # the phase begins when the first batch is trained
    tested = 1  # the test images are evaluated in one chunk
    assert count_beats(start(epochs=3, batch_size=10)) == {
        Phase.LOADING: begin + step + first,
        Phase.TRAINING: begin + batches - first + 3 * tested + step,
        Phase.EVALUATING: begin + tested + 1,  # training images for the temperature, one chunk
        Phase.STORING: begin + tested,  # to be compared with the live version
    }


def test_batches_that_a_resumed_epoch_skips_beat(start, store, monkeypatch, count_beats):
    run = start(epochs=1, batch_size=10)
    monkeypatch.setattr("app.train.worker.trainer.SAVE_INTERVAL", 0.0)
    with monkeypatch.context() as patch:
        interrupt_after(patch, "reset_failures", 150)
        with pytest.raises(KeyboardInterrupt):
            run.run()
    store.change_job(run.job.id, values={"status": "queued"})
    resumed = start(run.job.id)
    counts = count_beats(resumed)
    assert counts[Phase.LOADING] >= 150, "these are skipped"
    assert counts[Phase.TRAINING] >= 49


def test_each_drawn_picture_beats(start, monkeypatch, count_beats):
    monkeypatch.setattr(drawn_images, "SYNTHETIC_DIGITS", 30)
    monkeypatch.setattr(drawn_images, "ALLOGRAPHS", 10)
    monkeypatch.setattr(drawn_images, "NEGATIVES", 20)
    monkeypatch.setattr("app.train.worker.trainer.DRAWN_INTERVAL", 0.0)
    counts = count_beats(start(recipe="robust", epochs=2, batch_size=200))
    assert counts[Phase.DRAWING] >= 60


class SlowFiles:
    """A file system whose requests take as long as they may, by a clock of its own."""

    async_impl = False

    def __init__(self):
        self.files, self.seconds, self.failures = MemoryFileSystem(), 0.0, 0

    def __getattr__(self, name):
        def request(*args, **kwargs):
            self.seconds += object_store.LIMIT
            if self.failures:
                self.failures -= 1
                raise TimeoutError
            return getattr(self.files, name)(*args, **kwargs)

        return request


class TimedHeartbeat(Heartbeat):
    """Measures the seconds from each beat to the next one, by the clock of a bucket."""

    def __init__(self, files):
        super().__init__()
        self.files, self.last, self.gaps = files, files.seconds, []

    def beat(self):
        before, self.last = self.last, self.files.seconds
        self.gaps.append(self.last - before)


@pytest.fixture
def slow_bucket(monkeypatch):
    """A bucket that keeps an attempt waiting, and receives one copy of its state at the end."""
    monkeypatch.setattr(state_replica, "COPY_INTERVAL", threading.TIMEOUT_MAX)
    monkeypatch.setattr(main, "RETRY_INTERVAL", 0.0)
    files, root = SlowFiles(), f"{secrets.token_hex(4)}/mynet"
    monkeypatch.setattr(Bucket, "at", lambda _, *on_request: Bucket(files, root, *on_request))
    return files


def queue_job_with_uploaded_data(settings, store, digits):
    """Queue a job whose data sets are in the bucket alone."""
    datasets, ids = open_datasets(settings, store.database), []
    for part in (slice(1000), slice(1000, 2000)):
        images = LabelledImages(digits.pixels[part].numpy(), digits.labels[part].numpy())
        ids.append(datasets.add(f"from-{part.start}", images)[0].id)
        datasets.files.local_path(ids[-1]).unlink()
    hyperparameters = Hyperparameters(epochs=1, datasets=ids, include_feedback=True)
    return job.create(store, hyperparameters, max_queued=1, key=None)


@pytest.mark.parametrize("failures", [0, 5])
@pytest.mark.usefixtures("small_dataset")
def test_each_request_to_a_bucket_beats(settings, store, few_digits, slow_bucket, failures):
    settings = settings.model_copy(update={"models_url": "s3://bucket/mynet"})
    startup.prepare_registry(settings)
    queued = queue_job_with_uploaded_data(settings, store, few_digits)
    slow_bucket.failures = failures
    beating, number = TimedHeartbeat(slow_bucket), job.start(store, queued)
    assignment = Assignment(settings=settings, job_id=queued.id, attempt=number)
    main.run_attempt(assignment, threading.Event(), heartbeat=beating)
    assert store.job(queued.id).status == "succeeded"
    assert max(beating.gaps) == object_store.LIMIT, "no two requests without a beat"
