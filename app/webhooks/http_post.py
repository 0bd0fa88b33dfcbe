"""One POST of a webhook: to an address that was checked, within a deadline, and without redirects.

The host is resolved once, and the connection goes to the very address that was checked, so that a
name server cannot answer the check with one address and the connection with another. Proxies of the
environment are not used: they would resolve the name again.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import httptools
from pydantic import HttpUrl

from app.webhooks.addresses import AllowedAddresses

CHUNK_BYTES: Final = 4096
# All that is read of an answer: its status, and no more of its headers than this. Never its body.
MAX_ANSWER_BYTES: Final = 64 * 1024
DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class TimeOuts:
    """Time-outs in seconds."""

    # To connect to one address, with TLS.
    connect: float = 5.0
    # For everything: the name, the connections and the answer.
    total: float = 20.0


class PostFailed(Exception):
    """No answer came. The message names no address: the host may be in a network of the service."""


class HttpPoster:
    """Sends requests to the addresses that `allowed` permits."""

    def __init__(self, allowed: AllowedAddresses, time_outs: TimeOuts) -> None:
        self.allowed, self.time_outs = allowed, time_outs
        self._tls: ssl.SSLContext | None = None

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Send a POST, and return the status of the answer. Raises PostFailed."""
        target = HttpUrl(url)
        try:
            async with asyncio.timeout(self.time_outs.total):
                reader, writer = await self._connect(target)
                try:
                    writer.write(_request(target, headers, body))
                    await writer.drain()
                    return await _read_status(reader)
                finally:
                    writer.transport.abort()  # without waiting for a receiver that hangs
        except TimeoutError:
            raise PostFailed("no answer in time") from None
        except httptools.HttpParserUpgrade:
            raise PostFailed("the receiver asks for another protocol") from None
        except httptools.HttpParserError:
            raise PostFailed("the answer is not HTTP") from None
        except OSError as error:
            raise PostFailed(_describe(error)) from None

    async def _connect(self, target: HttpUrl) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the first address that answers. Raises PostFailed, OSError, TimeoutError."""
        host, port = (target.host or "").strip("[]"), target.port or DEFAULT_PORTS[target.scheme]
        tls = await self._tls_context() if target.scheme == "https" else None
        problem: OSError = OSError("the host has no address")
        for address in await self._addresses(host, port):
            try:
                async with asyncio.timeout(self.time_outs.connect):
                    return await asyncio.open_connection(
                        address, port, ssl=tls, server_hostname=host if tls else None
                    )
            except OSError as error:  # also a time-out
                problem = error
        raise problem

    async def _addresses(self, host: str, port: int) -> list[str]:
        """Return the allowed addresses of a host. Raises PostFailed, OSError."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError:
            raise PostFailed("the host name is not valid") from None
        addresses = [str(address[0]) for *_, address in found]
        permitted = [address for address in addresses if self.allowed.permits(host, address)]
        if not permitted:
            raise PostFailed(
                "the host has no public address, and MYNET_WEBHOOK_ALLOW does not name it"
            )
        return permitted

    async def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:  # reads the certificates of all authorities
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        return self._tls


def _request(target: HttpUrl, headers: Mapping[str, str], body: bytes) -> bytes:
    port = "" if target.port in (None, DEFAULT_PORTS[target.scheme]) else f":{target.port}"
    path = f"{target.path or '/'}{f'?{target.query}' if target.query else ''}"
    fields = {
        "Host": f"{target.host}{port}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Connection": "close",
        **headers,
    }
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


async def _read_status(reader: asyncio.StreamReader) -> int:
    """Return the status of the answer, after interim ones. Raises PostFailed, HttpParserError."""
    answer = _Answer()
    parser = httptools.HttpResponseParser(answer)
    answer.status_of = parser.get_status_code
    size = 0
    while answer.status is None:
        data = await reader.read(CHUNK_BYTES)
        size += len(data)
        if not data:
            raise PostFailed("the connection was closed without an answer")
        if size > MAX_ANSWER_BYTES:
            raise PostFailed(f"the headers of the answer exceed {MAX_ANSWER_BYTES} bytes")
        parser.feed_data(data)
    return answer.status


class _Answer:
    """The callbacks of the parser: they take the first status that is not an interim one."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.status_of: Callable[[], int] = lambda: 0

    def on_headers_complete(self) -> None:
        status = self.status_of()
        if self.status is None and status >= 200:
            self.status = status


def _describe(error: OSError) -> str:
    """Return what failed, without the address, which `str(error)` may contain."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not valid: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or 'the other side does not speak it'}"
    if isinstance(error, socket.gaierror):
        return "the host name cannot be resolved"
    return os.strerror(error.errno).lower() if error.errno else "the connection broke"
