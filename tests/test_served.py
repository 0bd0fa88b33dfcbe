"""The server that tests start in their own process ends with them."""

import socket
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI

from tests.served import serve_app


def test_served_when_the_test_fails_stops_the_server():
    with pytest.raises(ZeroDivisionError), serve_app(FastAPI()) as client:
        address = client.base_url.host, client.base_url.port
        socket.create_connection(address).close()
        raise ZeroDivisionError
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


def test_served_when_the_app_does_not_start_says_so():
    @asynccontextmanager
    async def broken(_):
        raise RuntimeError("no disk")
        yield

    with pytest.raises(AssertionError, match="did not start"), serve_app(FastAPI(lifespan=broken)):
        pass
