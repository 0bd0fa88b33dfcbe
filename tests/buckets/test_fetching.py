"""Versions that a mirror fetches from a bucket with unreadable objects."""

from contextlib import contextmanager

import pytest

from app.errors import NotFound
from app.predict.live_model import LiveModel
from app.startup import _first_loadable_version
from app.torch_net import MyNet, weights_of
from app.versions.bucket.object_store import Bucket, BucketUnavailable


def save(registry, card):
    return registry.save(weights_of(MyNet()), card)


@contextmanager
def missing_object(name):
    """Make buckets list an object, and fail to read it."""
    real = Bucket.read
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Bucket, "read", lambda self, key: None if key == name else real(self, key))
        yield


def test_a_version_that_cannot_be_fetched_holds_up_no_other(
    first, make_registry, card, monkeypatch, caplog
):
    def read(bucket, name):
        if name == f"{lost}.safetensors":
            raise BucketUnavailable(PermissionError())
        return real(bucket, name)

    lost, live, real = save(first, card), save(first, card), Bucket.read
    first.promote(live)
    other = make_registry("other")
    with monkeypatch.context() as patch:
        patch.setattr(Bucket, "read", read)
        for _ in range(2):
            other.refresh()
        assert (other.current(), lost in other.versions()) == (live, False)
        assert caplog.text.count(f"not be fetched: version={lost} error=PermissionError") == 1
        first.promote(lost)
        with pytest.raises(BucketUnavailable):
            other.refresh()
        assert other.current() == live, "nothing is said of what is live"
    other.refresh()
    assert other.current() == lost


def test_a_version_that_cannot_be_fetched_is_not_said_to_be_none(first, make_registry, card):
    lost, other = save(first, card), make_registry("other")
    with missing_object(f"{lost}.safetensors"):
        other.refresh()
        for call in (other.card, other.weights, other.check, other.promote):
            with pytest.raises(BucketUnavailable):
                call(lost)
        with pytest.raises(BucketUnavailable):
            other.check_complete()
        with pytest.raises(NotFound):
            other.card(lost + 1)
    other.refresh()
    other.check_complete()
    assert other.card(lost).version == lost


def test_a_version_that_cannot_be_fetched_keeps_its_place_in_the_history(
    first, make_registry, card
):
    lost, live, newer, deleted = (save(first, card) for _ in range(4))
    for version in (lost, live):
        first.promote(version)
    other = make_registry("other")
    with missing_object(f"{lost}.safetensors"):
        other.promote(newer)
        other.delete(deleted)
        first.refresh()
        assert first.history() == [newer, live, lost, 1]
        assert other.rollback() == live
        with pytest.raises(BucketUnavailable):
            other.rollback()
    assert other.rollback() == lost


def test_where_the_last_step_cannot_be_read_nothing_is_promoted_over_what_was_live(
    first, make_registry, card
):
    second, third, other = save(first, card), save(first, card), make_registry("other")
    other.refresh()
    first.promote(second)
    with missing_object("current/0000000002"), pytest.raises(BucketUnavailable):
        other.promote(third, expected=1)
    assert not other.promote(third, expected=1)
    first.refresh()
    assert first.history() == other.history() == [second, 1]


def test_a_start_passes_over_what_cannot_be_fetched(first, make_registry, card):
    lost, live = save(first, card), save(first, card)
    for version in (lost, live):
        first.promote(version)
    damaged = first.bucket.read(f"{live}.safetensors")[:-9] + b"*" * 9
    first.bucket.filesystem.pipe_file(first.bucket._path(f"{live}.safetensors"), damaged)
    other = make_registry("other")
    with missing_object(f"{lost}.safetensors"):
        other.refresh()
        assert _first_loadable_version(other) == 1
        live_model = LiveModel(other, "cpu")
        live_model.load_initial()
    assert live_model.model.version == 1
