"""What is under way ends before the process does."""

import asyncio

import pytest

from app.api.middleware import InTime
from app.serving import ending
from app.serving.ending import Ending

SCOPE = {"type": "http", "path": "/"}
START = {"type": "http.response.start", "status": 200, "headers": []}
END = {"type": "http.response.body", "body": b"whole"}


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(ending, "LAST", 0.05)


def asked(app, *, early):
    """Ask while the service ends, or just before, and give what was answered."""
    sent, until = [], Ending()

    async def send(message):
        sent.append(message)

    async def ask():
        if not early:
            until.begin()
        asking = asyncio.create_task(InTime(app, until)(SCOPE, None, send))
        await asyncio.sleep(0)
        if early:
            until.begin()
        await asking

    asyncio.run(ask())
    return sent


@pytest.mark.parametrize("early", [True, False])
def test_who_waits_for_ever_is_told_to_come_again(early):
    ended = []

    async def app(_scope, _receive, _send):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    start, body = asked(app, early=early)
    assert start["status"] == 503
    assert dict(start["headers"])[b"retry-after"].isdigit()
    assert b'"not_ready"' in body["body"]
    assert ended == [True]


def test_an_answer_that_has_begun_is_not_broken_off():
    async def app(_scope, _receive, send):
        await send(START)
        await asyncio.sleep(0.2)
        await send(END)

    assert asked(app, early=True) == [START, END]


def test_who_is_answered_in_time_is_answered():
    async def app(_scope, _receive, send):
        await asyncio.sleep(0)
        await send(START)
        await send(END)

    assert asked(app, early=True) == [START, END]
