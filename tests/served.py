"""The app over a socket, in the process of the test."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import uvicorn
from fastapi import FastAPI

from app.serving.protocol import Protocol


@contextmanager
def served(app: FastAPI) -> Iterator[httpx2.Client]:
    """Serve `app` over a socket, in this process."""
    config = uvicorn.Config(
        app, port=0, http=Protocol, loop="asyncio", ws="none", log_config=None, access_log=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.01)
    (listening,) = server.servers[0].sockets
    with httpx2.Client(base_url=f"http://127.0.0.1:{listening.getsockname()[1]}") as client:
        yield client
    server.should_exit = True
    thread.join()


def connected(client: httpx2.Client) -> socket.socket:
    """Connect to who is served, for what no client would send. The socket closes as a context."""
    return socket.create_connection((client.base_url.host, client.base_url.port or 80), 20)
