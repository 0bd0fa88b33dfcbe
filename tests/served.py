"""The app over a socket, in the process of the test."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx2
import uvicorn
from fastapi import FastAPI

from app.server.protocol import Protocol
from app.server.shutdown import GRACE_SECONDS

# Far more than requests that a failed test left behind may take to end: else the run would hang.
SHUTDOWN_TIMEOUT = GRACE_SECONDS + 120
REQUEST_TIMEOUT = 120  # seconds, of each step; a busy machine may stand still for some


@contextmanager
def serve_app(app: FastAPI) -> Iterator[httpx2.Client]:
    """Serve `app` over a socket, in this process."""
    config = uvicorn.Config(
        app,
        port=0,
        http=Protocol,
        loop="asyncio",
        ws="none",
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=_run, args=[server], daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start; its log tells why"
            time.sleep(0.01)
        (listener,) = server.servers[0].sockets
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with httpx2.Client(base_url=url, timeout=REQUEST_TIMEOUT) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(SHUTDOWN_TIMEOUT)
    assert not thread.is_alive(), f"the server did not end within {SHUTDOWN_TIMEOUT} s"


def _run(server: uvicorn.Server) -> None:
    with suppress(SystemExit):  # how uvicorn ends where the app does not start
        server.run()


def open_socket(client: httpx2.Client) -> socket.socket:
    """Return a socket to the served app, for bytes that no client would send."""
    address = client.base_url.host, client.base_url.port or 80
    return socket.create_connection(address, REQUEST_TIMEOUT)
