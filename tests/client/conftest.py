"""Both clients, made to look alike, so that every test is of both."""

import asyncio
from contextlib import ExitStack

import pytest

from mynet_client import AsyncClient, Client
from tests.service.running import run_service

SECRET = f"whsec_{'A' * 32}"


class SyncAdapter:
    """An AsyncClient, awaited at once."""

    def __init__(self, client, runner):
        self._client, self._run = client, runner.run

    def __getattr__(self, name):
        method = getattr(self._client, name)
        return lambda *args, **kwargs: self._run(_await_call(method, args, kwargs))

    def events(self, *args, **kwargs):
        events = self._client.events(*args, **kwargs)
        try:
            while (event := self._run(_next(events))) is not None:
                yield event
        finally:
            self._run(events.aclose())


async def _next(events):
    return await anext(events, None)


async def _await_call(method, args, kwargs):
    return await method(*args, **kwargs)


@pytest.fixture(params=["sync", "async"])
def connect(request):
    """Yield what makes a client, of either kind."""
    if request.param == "sync":
        with ExitStack() as stack:
            yield lambda url, **options: stack.enter_context(Client(url, **options))
        return
    with asyncio.Runner() as runner, ExitStack() as stack:

        def make(url, **options):
            client = SyncAdapter(AsyncClient(url, **options), runner)
            stack.callback(client.close)
            return client

        yield make


@pytest.fixture(scope="package")
def service(tmp_path_factory, small_data_dir):
    state = tmp_path_factory.mktemp("client") / "var"
    with run_service(state, data_dir=small_data_dir, webhook_secret=SECRET) as service:
        yield service


@pytest.fixture(scope="package")
def url(service):
    return f"http://127.0.0.1:{service.port}"


@pytest.fixture
def mynet(connect, url):
    """A client of the real service, which takes its time on a busy machine."""
    return connect(url, timeout=240)
