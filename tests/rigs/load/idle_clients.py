"""Idle, slow and vanishing clients, which cost connections and must not slow down other clients."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from itertools import cycle, islice
from typing import Final

from app.server.timeouts import max_connections
from tests.rigs.load.uploads import raw_request

IDLE_CONNECTIONS: Final = 2000
SLOW_SENDERS: Final = 200
VANISH_INTERVAL: Final = 0.05
# A byte a second: as long as this.
BYTE_INTERVAL: Final = 1.0


class Crowd:
    """Is there for as long as the context is entered, which should be shorter than the patience of
    the service.
    """

    def __init__(self, port: int, upload: bytes) -> None:
        self.port = port
        self.request = raw_request(upload)
        self.vanished = 0
        self._stack = ExitStack()
        self._end = threading.Event()

    def __enter__(self) -> "Crowd":
        max_connections()
        for _ in range(IDLE_CONNECTIONS):
            self._open()
        for work in (self._send_slowly, self._vanish):
            thread = threading.Thread(target=work)
            thread.start()
            self._stack.callback(thread.join)
        self._stack.callback(self._end.set)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _open(self) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), 20)
        return self._stack.enter_context(closing(connection))

    def _send_slowly(self) -> None:
        """Half of them send headers, half have sent them and send a body."""
        head = self.request.index(b"\r\n\r\n") + 4
        with ExitStack() as stack:
            senders: list[tuple[socket.socket, Iterator[bytes]]] = []
            for start in islice(cycle((0, head)), SLOW_SENDERS):
                address = "127.0.0.1", self.port
                connection = stack.enter_context(closing(socket.create_connection(address, 20)))
                connection.sendall(self.request[:start])
                senders.append((connection, (bytes([byte]) for byte in self.request[start:])))
            while not self._end.wait(BYTE_INTERVAL):
                for connection, remaining in senders:
                    with suppress(OSError):
                        connection.sendall(next(remaining))

    def _vanish(self) -> None:
        """Each goes after some of its request."""
        parts = cycle((0.1, 0.5, 0.9))
        with suppress(ConnectionRefusedError):  # the service is gone
            while not self._end.wait(VANISH_INTERVAL):
                with closing(socket.create_connection(("127.0.0.1", self.port), 20)) as connection:
                    connection.sendall(self.request[: int(next(parts) * len(self.request))])
                self.vanished += 1
