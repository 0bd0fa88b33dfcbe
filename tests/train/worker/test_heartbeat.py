"""Heartbeats of a worker process: where they are sent, and how often."""

import os
import subprocess
import sys
import threading

import pytest

from app.train.recipes import recipes
from app.train.worker import heartbeat
from app.train.worker.heartbeat import FolderGrowth, Heartbeat
from app.train.worker.main import train_and_promote
from app.train.worker.state import FileCheckpointer
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
    """Counts the beats, each with the number of logged events before it."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def beat(self):
        self.count += 1


def run_counted(run):
    counted = CountedHeartbeat()
    object.__setattr__(run.attempt, "heartbeat", counted)
    train_and_promote(run.attempt, run.stop, FileCheckpointer(run.attempt.files.state))
    return counted.count


def test_each_batch_and_each_evaluation_beats(start):
    batches, chunks = 3 * 200, 3 + 2 * 2  # 500 test images are one chunk, 2,000 training ones too
    count = run_counted(start(epochs=3, batch_size=10))
    assert count >= batches + chunks


def test_batches_that_a_resumed_epoch_skips_beat(start, store, monkeypatch):
    run = start(epochs=1, batch_size=10)
    monkeypatch.setattr("app.train.worker.trainer.SAVE_INTERVAL", 0.0)
    with monkeypatch.context() as patch:
        interrupt_after(patch, "reset_failures", 150)
        with pytest.raises(KeyboardInterrupt):
            run.run()
    store.change_job(run.job.id, values={"status": "queued"})
    resumed = start(run.job.id)
    assert run_counted(resumed) >= 200, "150 of them are skipped"


def test_each_drawn_picture_beats(start, monkeypatch):
    monkeypatch.setattr(recipes, "SYNTHETIC_DIGITS", 30)
    monkeypatch.setattr(recipes, "ALLOGRAPHS", 10)
    monkeypatch.setattr(recipes, "NEGATIVES", 20)
    count = run_counted(start(recipe="robust", epochs=1, batch_size=200))
    assert count >= 60 + 10, "the pictures, and the batches"
