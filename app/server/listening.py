"""Sockets that the service listens on: TCP addresses, or one Unix socket.

The service binds them itself, so that one worker process and several listen on the same ones.
"""

import logging
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

from app.config.settings import PREFIX, Settings
from app.startup import StartupError

IPV6_ANY: Final = "::"
IPV4_ANY: Final = "0.0.0.0"
UDS_MODE: Final = 0o666  # its folder protects the socket; the proxy runs as another user
log = logging.getLogger(__name__)


@contextmanager
def bound_sockets(settings: Settings) -> Iterator[list[socket.socket]]:
    """Yield the sockets, bound but not listening yet. Raises StartupError."""
    with ExitStack() as stack:
        if settings.uds:
            yield [stack.enter_context(_unix_socket(settings.uds))]
            return
        sockets: list[socket.socket] = []
        for host in settings.hosts:
            for family, address in _addresses(host):
                # The system chooses one port for all if the setting is 0.
                port = sockets[0].getsockname()[1] if sockets else settings.port
                sockets.append(stack.enter_context(_tcp_socket(family, (address, port))))
        yield sockets


def urls(settings: Settings, sockets: list[socket.socket]) -> list[str]:
    """Return the addresses of the sockets for a log line."""
    scheme = "https" if settings.tls_cert else "http"
    return [_url(scheme, bound.getsockname()) for bound in sockets]


def _url(scheme: str, name: str | tuple[str, int]) -> str:
    if isinstance(name, str):
        return f"unix:{name}"
    host, port = name[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _addresses(host: str) -> list[tuple[socket.AddressFamily, str]]:
    """Return the addresses of a name; `::` includes IPv4, by a socket of its own.

    One socket for both would report IPv4 clients and proxies as `::ffff:192.0.2.7`.
    """
    names = [IPV6_ANY, IPV4_ANY] if host == IPV6_ANY else [host]
    found: dict[tuple[socket.AddressFamily, str], None] = {}
    for name in names:
        try:
            entries = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except OSError as error:
            raise _failure(name, error) from error
        found |= {(family, str(to[0])): None for family, _, _, _, to in entries}
    return list(found)


@contextmanager
def _tcp_socket(family: socket.AddressFamily, address: tuple[str, int]) -> Iterator[socket.socket]:
    try:
        bound = socket.socket(family)
    except OSError as error:  # the machine has no IPv6
        raise _failure(address[0], error) from error
    with bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            bound.bind(address)
        except OSError as error:
            raise _failure(f"{address[0]}, {PREFIX}PORT={address[1]}", error) from error
        yield bound


@contextmanager
def _unix_socket(path: Path) -> Iterator[socket.socket]:
    """Bind a Unix socket, in place of one that a killed service left; remove it at the end."""
    with socket.socket(socket.AF_UNIX) as bound:
        try:
            _remove_stale(path)
            bound.bind(str(path))
            path.chmod(UDS_MODE)
        except OSError as error:
            raise StartupError(
                f"The server cannot listen on {PREFIX}UDS={path}: {error}. Choose another path."
            ) from error
        try:
            yield bound
        finally:
            path.unlink(missing_ok=True)


def _remove_stale(path: Path) -> None:
    """Remove a socket that no process listens on. Raises OSError for another file."""
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(path).st_mode):
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(str(path))
                except ConnectionRefusedError:
                    path.unlink()


def _failure(host: str, error: OSError) -> StartupError:
    return StartupError(
        f"The server cannot listen on {PREFIX}HOST={host}: {error}. Choose another address or port."
    )
