"""A job whose last attempt went live with its version, and could not tell it."""

import pytest


@pytest.fixture
def live_job_id(unreported_job):
    """A job that is queued again, though its version is live."""
    return unreported_job("always")


def test_what_went_live_after_it_holds(live_job_id, start, store, registry):
    version = registry.current()
    newer = registry.save(registry.weights(1), registry.card(1))
    registry.promote(newer)
    history = registry.history()
    start(live_job_id).run()
    assert registry.history() == history == [newer, version, 1]
    result = store.job(live_job_id).result
    assert (result["version"], result["promoted"]) == (version, True)
    assert "of version 1," in result["reason"], "what it was compared with then"


def test_where_nothing_came_after_it_is_live_once(live_job_id, start, store, registry):
    start(live_job_id).run()
    version = store.job(live_job_id).result["version"]
    assert registry.history() == [version, 1]
