"""A job whose last attempt went live with its version, and could not tell it."""

import pytest

from app.errors import NotReady
from app.train import job as jobs
from app.train.attempt import Attempt


@pytest.fixture
def untold(start, store, monkeypatch):
    """A job that is queued again, though its version is live."""

    def away(*_):
        raise NotReady("The database does not answer.")

    run = start(promote="always", epochs=1)
    with monkeypatch.context() as patch, pytest.raises(NotReady):
        patch.setattr(Attempt, "succeed", away)
        run.run()
    jobs.release(store, store.job(run.job.id))
    return run.job.id


def test_what_went_live_after_it_holds(untold, start, store, registry):
    version = registry.current()
    newer = registry.save(registry.weights(1), registry.card(1))
    registry.promote(newer)
    before = registry.history()
    start(untold).run()
    assert registry.history() == before == [newer, version, 1]
    result = store.job(untold).result
    assert (result["version"], result["promoted"]) == (version, True)
    assert "of version 1," in result["reason"], "what it was compared with then"


def test_where_nothing_came_after_it_is_live_once(untold, start, store, registry):
    start(untold).run()
    version = store.job(untold).result["version"]
    assert registry.history() == [version, 1]
