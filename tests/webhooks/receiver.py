"""A receiver of webhooks, which verifies them with the package `standardwebhooks`."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Stores what is valid, and answers as the receiver says."""

    server: "Server"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        message = Webhook(SECRET).verify(body, dict(self.headers))  # raises if it is not
        with self.server.changed:
            self.server.received.append((self.headers["webhook-id"], message))
            self.server.requests.append((self.path, dict(self.headers), body))
            self.server.changed.notify_all()
        self.server.answer(self)

    def do_GET(self) -> None:
        self.server.followed.append(self.path)
        self.end(204)

    def end(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, answer: Answer, tls: ssl.SSLContext | None) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.answer, self.tls = answer, tls
        self.received: list[tuple[str, dict[str, Any]]] = []
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.followed: list[str] = []
        self.changed = threading.Condition()

    @property
    def url(self) -> str:
        host = "https://localhost" if self.tls else "http://127.0.0.1"
        return f"{host}:{self.server_port}/hooks"

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        if self.tls:  # the handshake is left to the thread of the connection
            wrapped = self.tls.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
            return wrapped, address
        return connection, address

    def wait_for(self, condition: Callable[["Server"], bool], seconds: float = 240) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: condition(self), seconds)

    def handle_error(self, *_: object) -> None:
        pass  # a sender that was killed; what is not valid is missing in `received`


@contextmanager
def receiving(
    port: int = 0,
    answer: Answer = lambda handler: handler.end(204),
    tls: ssl.SSLContext | None = None,
) -> Iterator[Server]:
    """Run a receiver in threads of this process, with TLS if it has a context for it."""
    with Server(port, answer, tls) as server:
        threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()
