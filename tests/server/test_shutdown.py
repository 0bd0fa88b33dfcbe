"""Requests in progress end before the process does."""

import asyncio
import signal
from functools import partial

import pytest

from app.api.middleware import ShutdownDeadline
from app.main import create_app
from app.server import shutdown
from app.server.protocol import Protocol
from app.server.shutdown import Shutdown
from tests.served import open_socket, serve_app

SCOPE = {"type": "http", "path": "/"}
START = {"type": "http.response.start", "status": 200, "headers": []}
END = {"type": "http.response.body", "body": b"whole"}


@pytest.fixture(autouse=True)
def short_deadline(monkeypatch):
    monkeypatch.setattr(shutdown, "DEADLINE_SECONDS", 0.05)


def run_app(app, *, early):
    """Send a request during the shutdown, or just before it, and return the answer."""
    messages, service_shutdown = [], Shutdown()

    async def send(message):
        messages.append(message)

    async def ask():
        if not early:
            service_shutdown.begin()
        asking = asyncio.create_task(ShutdownDeadline(app, service_shutdown)(SCOPE, None, send))
        await asyncio.sleep(0)
        if early:
            service_shutdown.begin()
        await asking

    asyncio.run(ask())
    return messages


@pytest.mark.parametrize("early", [True, False])
def test_who_waits_for_ever_is_told_to_come_again(early):
    ended = []

    async def app(_scope, _receive, _send):
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    start, body = run_app(app, early=early)
    assert start["status"] == 503
    assert dict(start["headers"])[b"retry-after"].isdigit()
    assert b'"not_ready"' in body["body"]
    assert ended == [True]


def test_an_answer_that_has_begun_is_not_broken_off():
    async def app(_scope, _receive, send):
        await send(START)
        await asyncio.sleep(0.2)
        await send(END)

    assert run_app(app, early=True) == [START, END]


def test_who_is_answered_in_time_is_answered():
    async def app(_scope, _receive, send):
        await asyncio.sleep(0)
        await send(START)
        await send(END)

    assert run_app(app, early=True) == [START, END]


def test_the_server_is_told_a_notice_later(monkeypatch):
    monkeypatch.setattr(shutdown, "LAME_DUCK_SECONDS", 3600.0)

    async def states():
        service_shutdown = Shutdown()
        yield service_shutdown.listeners_closed
        service_shutdown.begin()
        yield service_shutdown.listeners_closed
        monkeypatch.setattr(shutdown, "LAME_DUCK_SECONDS", 0.05)
        await asyncio.sleep(0.1)
        yield service_shutdown.listeners_closed

    async def collect_states():
        return [state async for state in states()]

    assert asyncio.run(collect_states()) == [False, False, True]


@pytest.mark.parametrize("notice", [0.0, 3600.0])
def test_server_is_signalled_after_the_lame_duck_period(monkeypatch, notice):
    monkeypatch.setattr(shutdown, "LAME_DUCK_SECONDS", notice)

    async def stop():
        began, signalled = asyncio.Event(), asyncio.Event()
        monkeypatch.setattr(signal, "getsignal", lambda _: lambda *_: signalled.set())
        with shutdown.on_shutdown_signal(began.set):
            signal.raise_signal(signal.SIGTERM)
            await asyncio.wait_for(began.wait(), 60)
            for _ in range(10):
                await asyncio.sleep(0)
            assert signalled.is_set() == (notice == 0.0)
            signal.raise_signal(signal.SIGTERM)  # a second one ends it without notice
            assert signalled.is_set()

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        asyncio.run(stop())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("path", ["/predict", "/predict?explain=true", "/nope"])
def test_who_came_too_late_to_be_let_go_is_let_go_with_the_answer(
    settings, monkeypatch, seven, path
):
    """A connection that is made while the server goes through those that it has."""
    with serve_app(create_app(settings)) as client, open_socket(client) as connection:
        monkeypatch.setattr(Shutdown, "listeners_closed", True)
        # It would end the connection a few seconds later, too.
        monkeypatch.setattr(Protocol, "start_keep_alive_timer", lambda _: None)
        head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(seven)}\r\n\r\n"
        connection.sendall(head.encode() + seven)
        answer = b"".join(iter(partial(connection.recv, 65536), b""))
    assert answer.startswith(b"HTTP/1.1 404 " if path == "/nope" else b"HTTP/1.1 200 ")
    assert answer.endswith(b"}")
