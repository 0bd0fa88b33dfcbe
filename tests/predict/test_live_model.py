import asyncio
import logging
from types import SimpleNamespace

import numpy as np
import pytest

from app.errors import Conflict, NotFound, NotReady
from app.net import SHAPES, InvalidWeights
from app.predict.device_net import DeviceNet
from app.predict.live_model import RETRY_INTERVAL, LiveModel
from app.predict.model import Model
from app.predict.numpy_net import NumpyNet
from app.torch_net import MyNet, weights_of
from app.versions.registry import Registry

CPU = "cpu"


@pytest.fixture
def live(registry):
    live = LiveModel(registry, CPU)
    live.refresh()
    return live


@pytest.fixture
def second(registry):
    """Another version, which answers otherwise."""
    return registry.save(weights_of(MyNet()), registry.card(1))


def save_broken(registry, *, live=False):
    version = registry.save(weights_of(MyNet()), registry.card(1))
    if live:
        registry.promote(version)  # it breaks after that: a broken one would be refused
    path = registry.path(version)
    path.write_bytes(path.read_bytes()[:-1000])
    return version


def test_nothing_is_live_before_it_is_loaded(registry):
    with pytest.raises(NotReady):
        _ = LiveModel(registry, CPU).model


def test_an_empty_registry_has_nothing_to_serve(tmp_path):
    with pytest.raises(NotReady, match="No version exists"):
        LiveModel(Registry(tmp_path), CPU).refresh()


def test_it_follows_current(live, registry, second):
    registry.promote(second)
    live.refresh()
    assert live.model.version == second


def test_the_same_version_is_not_loaded_again(live):
    model = live.model
    live.refresh()
    assert live.model is model


def test_what_is_promoted_is_live_at_once_and_on_disk(live, registry, second):
    assert live.promote(second) == registry.card(second)
    assert (live.model.version, registry.current()) == (second, second)
    assert live.rollback() == registry.card(1)
    assert (live.model.version, registry.current()) == (1, 1)


def test_a_broken_version_cannot_be_promoted(live, registry):
    with pytest.raises(Conflict, match="is damaged"):
        live.promote(save_broken(registry))
    assert (live.model.version, registry.current()) == (1, 1)


def test_rolling_back_to_a_broken_version_is_refused(live, registry, second):
    live.promote(second)
    registry.path(1).write_bytes(b"")
    with pytest.raises(Conflict, match="is damaged"):
        live.rollback()
    assert (live.model.version, registry.current()) == (second, second)


@pytest.mark.parametrize(
    "error", [RuntimeError("out of memory"), InvalidWeights("odd"), OSError(5)]
)
def test_whatever_stops_the_warm_up_nothing_changes(live, registry, second, monkeypatch, error):
    def failing(*_):
        raise error

    third = registry.save(weights_of(MyNet()), registry.card(1))
    registry.promote(second)
    registry.promote(third)
    live.refresh()
    monkeypatch.setattr(Model, "answer", failing)
    for change in (lambda: live.promote(1), live.rollback):
        with pytest.raises(Conflict, match=rf"Version \d failed its test prediction: {error}"):
            change()
    assert (live.model.version, registry.history()) == (third, [third, second, 1])


def test_a_version_whose_answers_overflow_is_not_served(live, registry):
    weights = {name: np.full(shape, 3e38, np.float32) for name, shape in SHAPES.items()}
    with pytest.raises(Conflict, match="are not finite"):
        live.promote(registry.save(weights, registry.card(1)))
    assert (live.model.version, registry.current()) == (1, 1)


def test_a_rollback_that_another_process_was_quicker_with_is_refused(live, registry, monkeypatch):
    for _ in range(2):
        live.promote(registry.save(weights_of(MyNet()), registry.card(1)))
    real = LiveModel._load_weights

    def load_after_rollback(self, card):
        registry.rollback()
        return real(self, card)

    monkeypatch.setattr(LiveModel, "_load_weights", load_after_rollback)
    with pytest.raises(Conflict, match="Another request changed"):
        live.rollback()
    assert (live.model.version, registry.current()) == (3, 2)


def test_a_removed_version_answers_no_more_loaded_or_not(live, registry, second):
    live.promote(second)
    assert live.get(1).version == 1
    registry.delete(1)
    registry.file(second).unlink()
    for version in (1, second):
        with pytest.raises(NotFound):
            live.get(version)
    assert live.get(None).version == second, "it is live until another one is"


def test_another_version_answers_without_going_live(live, second):
    assert live.get(second).version == second
    assert live.get(None).version == live.get(1).version == live.model.version == 1
    with pytest.raises(NotFound):
        live.get(77)


def test_a_damaged_version_cannot_answer(live, registry):
    with pytest.raises(Conflict, match="is damaged"):
        live.get(save_broken(registry))


def watch_until(live, condition):
    async def go():
        watching = asyncio.create_task(live.watch())
        deadline = asyncio.get_running_loop().time() + 120
        while not condition() and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.05)
        watching.cancel()

    asyncio.run(go())
    assert condition()


def test_watching_sees_what_another_process_promotes(live, registry, second):
    Registry(registry.folder).promote(second)
    watch_until(live, lambda: live.model.version == second)


def test_a_version_that_does_not_load_leaves_the_previous_one_live(live, registry, caplog):
    save_broken(registry, live=True)
    with caplog.at_level(logging.ERROR):
        watch_until(live, lambda: "failed to load" in caplog.text)
    assert live.model.version == 1


def test_the_watcher_goes_on_after_what_did_not_load(live, registry, second, monkeypatch):
    real, failures = Registry.stamp, []

    def failing(self):
        if len(failures) < 2:
            failures.append(1)
            raise OSError("the disk does not answer")
        return real(self)

    monkeypatch.setattr(Registry, "stamp", failing)
    save_broken(registry, live=True)
    registry.promote(second)
    watch_until(live, lambda: live.model.version == second)


def test_what_failed_to_load_is_tried_again(live, registry, second, monkeypatch):
    monkeypatch.setattr("app.predict.live_model.RETRY_INTERVAL", 0.0)
    real, failures = Registry.weights, []

    def failing(self, version):
        if not failures:
            failures.append(version)
            raise OSError("too many open files")
        return real(self, version)

    registry.promote(second)
    monkeypatch.setattr(Registry, "weights", failing)
    watch_until(live, lambda: live.model.version == second)
    assert failures == [second]


def test_a_current_that_is_lost_is_written_anew_while_it_serves(live, registry, second):
    live.promote(second)
    for path in registry.folder.glob("CURRENT*"):
        path.unlink()
    watch_until(live, lambda: registry.current() == second)
    assert live.model.version == second


def test_a_device_that_answers_again_is_taken_again(live, monkeypatch):
    monkeypatch.setattr("app.predict.live_model.RETRY_INTERVAL", 0.0)
    live.device = "meta"
    live._model = live._load(1)
    assert live.model.network.device_error
    monkeypatch.setattr(DeviceNet, "_forward", lambda self, pixels: self.cpu_net.logits(pixels))
    watch_until(live, lambda: not live.model.network.device_error)


def test_device_that_failed_is_tried_once_each_interval(live, registry, monkeypatch):
    looks, retries = [], []

    def seconds():
        return 100.0 if len(looks) < 20 else 101.0 + RETRY_INTERVAL

    monkeypatch.setattr("app.predict.live_model.time", SimpleNamespace(monotonic=seconds))
    monkeypatch.setattr("app.predict.live_model.POLL_INTERVAL", 0.0)
    monkeypatch.setattr(LiveModel, "_device_failed", lambda _: looks.append(1) is None)
    monkeypatch.setattr(NumpyNet, "retry_device", lambda _: retries.append(1))
    live._stamp = registry.stamp()
    watch_until(live, lambda: len(looks) > 40)
    assert len(retries) == 2, "at once, and when the interval was over"
