"""One attempt at one job, in this process, on few images so that it is quick."""

import threading

import pytest
import torch

from app.train import attempt as attempts
from app.train import data, finish, job, saved, training
from app.train.attempt import Attempt, Diverged, Stopped
from app.train.data import Dataset, Digits
from app.train.hyperparameters import Hyperparameters
from app.train.run import perform


class Run:
    """An attempt that is about to be performed."""

    def __init__(self, attempt):
        self.attempt, self.job, self.stop = attempt, attempt.job, threading.Event()

    def run(self):
        perform(self.attempt, self.stop)


@pytest.fixture(autouse=True)
def few(mnist, few_digits, monkeypatch):
    test = Digits(mnist.test.pixels[:500], mnist.test.labels[:500])
    monkeypatch.setattr(data, "load", lambda _: Dataset(few_digits, test, mnist.digest))


@pytest.fixture
def start(settings, store, registry):
    def start(job_id=None, **wanted):
        if job_id is None:
            wanted = Hyperparameters(**{"epochs": 3, "batch_size": 10, "seed": 11, **wanted})
            job_id = job.create(store, wanted, most_queued=9, key=None).id
        number = job.start(store, store.job(job_id))
        return Run(Attempt.begin(settings, store, registry, job_id, number))

    return start


def events(store, job_id, kind):
    return [event.data for event in store.events(job_id, kind=kind)]


def test_a_job_becomes_a_version_with_a_card(start, store, registry, mnist):
    attempt = start(note="mine", promote="always")
    attempt.run()
    done = store.job(attempt.job.id)
    card = registry.card(done.result["version"])
    assert (done.status, done.result["promoted"]) == ("succeeded", True)
    assert registry.current() == card.version
    assert (card.job, card.parent, card.note) == (done.id, 1, "mine")
    assert (card.hyperparameters, card.data_digest) == (done.hyperparameters, mnist.digest)
    assert [epoch.epoch for epoch in card.epochs] == [0, 1, 2]
    assert card.test_accuracy == card.epochs[-1].test_accuracy == done.result["test_accuracy"]
    assert done.progress["fraction"] == 1.0


def test_it_tells_every_hundred_batches_and_at_the_end(start, store):
    attempt = start(epochs=1, batch_size=8)
    attempt.run()
    told = events(store, attempt.job.id, "batch")
    assert [each["batch"] for each in told] == [100, 200, 250]
    assert all(each["loss"] > 0 for each in told)


def interrupt_after(monkeypatch, function, calls):
    """Let the process 'die' right after a step has been done some times."""
    real, done = getattr(attempts.jobs, function), []

    def dying(*args, **kwargs):
        real(*args, **kwargs)
        done.append(1)
        if len(done) == calls:
            raise KeyboardInterrupt

    monkeypatch.setattr(attempts.jobs, function, dying)


@pytest.mark.parametrize(
    ("function", "calls"),
    [("got_further", 1), ("got_further", 2), ("record", 4), ("begin_finish", 1)],
)
def test_an_interrupted_job_ends_with_the_very_same_weights(
    start, store, registry, monkeypatch, function, calls
):
    whole = start()
    whole.run()
    expected = registry.card(store.job(whole.job.id).result["version"])

    broken = start()
    with monkeypatch.context() as patch:
        interrupt_after(patch, function, calls)
        with pytest.raises(KeyboardInterrupt):
            broken.run()
    job.release(store, store.job(broken.job.id))
    torch.manual_seed(999)
    start(broken.job.id).run()

    result = registry.card(store.job(broken.job.id).result["version"])
    assert result.weights_digest == expected.weights_digest
    losses = [[e.train_loss for e in card.epochs] for card in (result, expected)]
    assert losses[0] == losses[1]
    assert events(store, broken.job.id, "batch") == events(store, whole.job.id, "batch")


def seen(monkeypatch):
    """Watch where the loop begins: the epochs, and the batches done of the first."""
    trained, real = [], training.fit

    def fit(*args, **kw):
        trained.append((kw["epochs"], kw["done"]))
        return real(*args, **kw)

    monkeypatch.setattr(training, "fit", fit)
    return trained


def interrupt_save(monkeypatch, number):
    """Save after every batch, and 'die' right after one of the saves."""
    real, done = saved.save, []

    def dying(*args):
        real(*args)
        done.append(1)
        if len(done) == number:
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "SAVE_EVERY", -1.0)
    monkeypatch.setattr(training.saved, "save", dying)


@pytest.mark.parametrize("number", [1, 57, 199, 200, 201, 350])
def test_it_goes_on_in_the_middle_of_an_epoch(start, store, registry, monkeypatch, number):
    whole = start(epochs=2)
    whole.run()
    expected = registry.card(store.job(whole.job.id).result["version"])
    broken = start(epochs=2)
    with monkeypatch.context() as patch:
        interrupt_save(patch, number)
        with pytest.raises(KeyboardInterrupt):
            broken.run()
    job.release(store, store.job(broken.job.id))
    torch.manual_seed(999)
    trained = seen(monkeypatch)
    start(broken.job.id).run()
    assert trained == [(range(number // 200, 2), number % 200)]
    result = registry.card(store.job(broken.job.id).result["version"])
    assert result.weights_digest == expected.weights_digest
    assert [e.train_loss for e in result.epochs] == [e.train_loss for e in expected.epochs]
    assert events(store, broken.job.id, "batch") == events(store, whole.job.id, "batch")


@pytest.mark.parametrize("batch", [30, 100, 200])
def test_a_paused_job_loses_no_batch(start, store, registry, monkeypatch, batch):
    whole = start(epochs=2)
    whole.run()
    expected = registry.card(store.job(whole.job.id).result["version"])
    paused = start(epochs=2)
    real = training.Training._follow

    def pausing(self, step):
        if (step.epoch, step.batch) == (1, batch):
            job.pause(store, paused.job.id)
        real(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(training.Training, "_follow", pausing)
        with pytest.raises(job.Superseded):
            paused.run()
    job.resume(store, paused.job.id)
    trained = seen(monkeypatch)
    start(paused.job.id).run()
    assert trained == [(range(1 if batch < 200 else 2, 2), 100 if batch < 200 else 0)]
    result = registry.card(store.job(paused.job.id).result["version"])
    assert result.weights_digest == expected.weights_digest
    assert events(store, paused.job.id, "epoch")[1]["train_loss"] == expected.epochs[1].train_loss


def test_a_stopped_attempt_saves_its_state_first(start, store, monkeypatch):
    stopped, real = start(), training.Training._follow

    def stopping(self, step):
        if step.batch == 33:
            stopped.stop.set()
        real(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(training.Training, "_follow", stopping)
        with pytest.raises(Stopped):
            stopped.run()
    job.release(store, store.job(stopped.job.id))
    trained = seen(monkeypatch)
    start(stopped.job.id).run()
    assert trained == [(range(3), 33)]


def test_a_damaged_saved_state_starts_the_job_again(start, store, registry, caplog):
    whole = start(epochs=1)
    whole.run()
    broken = start(epochs=1)
    broken.attempt.state.parent.mkdir(parents=True, exist_ok=True)
    broken.attempt.state.write_bytes(b"damaged")
    broken.run()
    digests = [
        registry.card(store.job(each.job.id).result["version"]).weights_digest
        for each in (whole, broken)
    ]
    assert digests[0] == digests[1]
    assert "starts again from its seed" in caplog.text


def test_what_was_done_is_not_done_again(start, store, monkeypatch):
    broken = start()
    with monkeypatch.context() as patch:
        interrupt_after(patch, "got_further", 2)
        with pytest.raises(KeyboardInterrupt):
            broken.run()
    job.release(store, store.job(broken.job.id))
    trained = seen(monkeypatch)
    start(broken.job.id).run()
    assert trained == [(range(2, 3), 0)]


def test_a_version_that_was_stored_before_a_death_is_not_stored_twice(
    start, store, registry, monkeypatch
):
    broken = start(promote="always")
    with monkeypatch.context() as patch:
        patch.setattr(attempts.jobs, "succeed", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            broken.run()
    versions = registry.versions()
    job.release(store, store.job(broken.job.id))
    start(broken.job.id).run()
    assert registry.versions() == versions
    result = store.job(broken.job.id).result
    assert (result["version"], registry.current()) == (versions[-1], versions[-1])
    assert "of version 1" in result["reason"]


@pytest.mark.parametrize("step", ["measure", "judge"])
def test_an_older_attempt_stores_and_promotes_nothing(start, store, registry, monkeypatch, step):
    older = start(promote="always")
    module = {"measure": finish.evaluate, "judge": finish.promote}[step]
    real = getattr(module, step)

    def overtaken(*args):
        job.release(store, store.job(older.job.id))
        job.start(store, store.job(older.job.id))
        return real(*args)

    monkeypatch.setattr(module, step, overtaken)
    with pytest.raises(job.Superseded):
        older.run()
    assert registry.current() == 1
    assert len(registry.versions()) == (1 if step == "measure" else 2)


def test_two_attempts_at_one_job_never_work_at_once(tmp_path):
    order = []

    def second():
        with saved.alone(tmp_path, "a"):
            order.append("second")

    with saved.alone(tmp_path, "a"), saved.alone(tmp_path, "b"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]


def test_a_cancelled_job_stops_and_leaves_no_version(start, store, registry):
    attempt = start()
    job.cancel(store, attempt.job.id)
    before = registry.versions()
    with pytest.raises(job.Superseded):
        attempt.run()
    assert registry.versions() == before
    assert store.job(attempt.job.id).status == "cancelled"


def test_a_loss_that_is_no_number_fails_with_advice(start, registry):
    attempt = start(learning_rate=1e30)
    before = registry.versions()
    with pytest.raises(Diverged, match="learning_rate below 1e\\+30"):
        attempt.run()
    assert registry.versions() == before
