"""A job whose last attempt went live with its version, and could not tell it."""

import pytest


@pytest.fixture
def live(untold):
    """A job that is queued again, though its version is live."""
    return untold("always")


def test_what_went_live_after_it_holds(live, start, store, registry):
    version = registry.current()
    newer = registry.save(registry.weights(1), registry.card(1))
    registry.promote(newer)
    before = registry.history()
    start(live).run()
    assert registry.history() == before == [newer, version, 1]
    result = store.job(live).result
    assert (result["version"], result["promoted"]) == (version, True)
    assert "of version 1," in result["reason"], "what it was compared with then"


def test_where_nothing_came_after_it_is_live_once(live, start, store, registry):
    start(live).run()
    version = store.job(live).result["version"]
    assert registry.history() == [version, 1]
