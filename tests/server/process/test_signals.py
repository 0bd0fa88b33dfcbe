"""SIGHUP: what the process of the server and its worker processes do."""

import signal
import sys

import pytest
import uvicorn
from uvicorn.supervisors import Multiprocess

from app import main
from app.server import server, signals
from tests.service.running import wait_until


class Stdin:
    def __init__(self, is_terminal):
        self.isatty = lambda: is_terminal


@pytest.fixture(autouse=True)
def restore_handlers():
    """Undo what the server, and uvicorn's supervisor, do to the signals of this process."""
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    yield
    for number, handler in before.items():
        if handler != signal.getsignal(number):
            signal.signal(number, handler)


@pytest.fixture
def handler_of(settings, monkeypatch):
    """Return a function that serves, and returns the handler of SIGHUP while it does."""
    handlers = []

    def serve(workers, is_terminal):
        changed = settings.model_copy(update={"workers": workers, "port": 0})
        monkeypatch.setattr(sys, "stdin", Stdin(is_terminal))
        server._serve(changed)
        return handlers.pop()

    def run(self, *_args, **_kwargs):
        handlers.append(signal.getsignal(signal.SIGHUP))
        self.started = True

    monkeypatch.setattr(uvicorn.Server, "run", run)
    monkeypatch.setattr(Multiprocess, "run", run)
    return serve


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("is_terminal", [True, False])
def test_serve_under_nohup_keeps_ignoring_sighup(handler_of, workers, is_terminal):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert handler_of(workers, is_terminal) is signal.SIG_IGN


@pytest.mark.parametrize("workers", [1, 2])
def test_serve_in_a_terminal_that_closes_gets_sigterm(handler_of, workers):
    received = []
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    handler = handler_of(workers, True)
    signal.signal(signal.SIGTERM, lambda *_: received.append("SIGTERM"))
    signal.signal(signal.SIGHUP, handler)
    signal.raise_signal(signal.SIGHUP)
    assert wait_until(lambda: received)


@pytest.mark.parametrize(("workers", "is_ignored"), [(1, False), (2, True)])
def test_served_app_of_a_worker_process_ignores_sighup(settings, monkeypatch, workers, is_ignored):
    changed = settings.model_copy(update={"workers": workers})
    monkeypatch.setattr(main, "load_settings", lambda: changed)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    main.create_served_app()
    assert signals.is_hangup_ignored() == is_ignored
