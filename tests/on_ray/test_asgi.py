"""Inside another server: when the app takes it that nobody asks it any more."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest

from app.main import create_app
from app.on_ray.asgi import HostedApp

EVERY, UNASKED = 0.02, 0.2


@pytest.fixture
def asked(settings, monkeypatch):
    """Run a test's coroutine beside a watch, after the first question."""
    monkeypatch.setattr("app.on_ray.asgi.HEALTH_EVERY", EVERY)
    monkeypatch.setattr("app.on_ray.asgi.UNASKED", UNASKED)

    @asynccontextmanager
    async def hosted():
        app = HostedApp(create_app(settings))
        await app.begin()
        watch = asyncio.create_task(app.drain_when_unprobed())
        yield app
        watch.cancel()
        await app.end()

    async def run(test):
        async with hosted() as app:
            await test(app, app.services.draining)

    return lambda test: asyncio.run(run(test))


def test_who_was_never_asked_does_not_drain(asked):
    async def waits(_, draining):
        await asyncio.sleep(2 * UNASKED)
        assert not draining.is_set()

    asked(waits)


def test_who_is_asked_no_more_drains_until_it_is(asked):
    async def is_left(app, draining):
        await app.check()
        await asyncio.wait_for(draining.wait(), 60)
        await app.check()
        assert not draining.is_set()

    asked(is_left)


def test_who_stood_still_waits_for_the_next_question(asked):
    async def stands_still(app, draining):
        await app.check()
        time.sleep(2 * UNASKED)
        await asyncio.sleep(2 * EVERY)
        assert not draining.is_set()

    asked(stands_still)
