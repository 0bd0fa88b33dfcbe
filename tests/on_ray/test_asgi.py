"""The app inside another server: when it assumes that it gets no more requests."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from app.main import create_app
from app.on_ray.asgi import HostedApp

PROBE_INTERVAL, UNPROBED_TIMEOUT = 0.02, 0.2


@pytest.fixture
def run_test(settings, monkeypatch):
    """Run a test's coroutine beside a watch, after the first question."""
    monkeypatch.setattr("app.on_ray.asgi.HEALTH_EVERY", PROBE_INTERVAL)
    monkeypatch.setattr("app.on_ray.asgi.UNASKED", UNPROBED_TIMEOUT)

    @asynccontextmanager
    async def started_app():
        app = HostedApp(create_app(settings))
        await app.begin()
        watch = asyncio.create_task(app.drain_when_unprobed())
        yield app
        watch.cancel()
        await app.end()

    async def run(test):
        async with started_app() as app:
            await test(app, app.services.draining)

    return lambda test: asyncio.run(run(test))


def test_who_was_never_asked_does_not_drain(run_test):
    async def waits(_, draining):
        await asyncio.sleep(2 * UNPROBED_TIMEOUT)
        assert not draining.is_set()

    run_test(waits)


def test_who_is_asked_no_more_drains_until_it_is(run_test):
    async def is_left(app, draining):
        await app.check()
        await asyncio.wait_for(draining.wait(), 120)
        await app.check()
        assert not draining.is_set()

    run_test(is_left)


def test_who_stood_still_waits_for_the_next_question(run_test):
    async def stands_still(app, draining):
        await app.check()
        time.sleep(2 * UNPROBED_TIMEOUT)
        await asyncio.sleep(2 * PROBE_INTERVAL)
        assert not draining.is_set()

    run_test(stands_still)
