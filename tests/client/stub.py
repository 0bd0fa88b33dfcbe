"""A service that answers what a test wrote down, and a connection that breaks when told."""

import json
import socket
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

HANG_UP = None


def problem(status, code, **headers):
    fields = {"type": "about:blank", "title": code, "status": status, "detail": "no", "code": code}
    return status, headers, json.dumps({**fields, "request_id": "abc"}).encode()


def answer(body, **headers):
    return 200, headers, body if isinstance(body, bytes) else json.dumps(body).encode()


@contextmanager
def answering(*answers):
    """Serve the answers, one a request; HANG_UP breaks the connection. Give what was asked."""
    remaining, requests = list(answers), []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one(self):
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            requests.append(SimpleNamespace(path=self.path, headers=self.headers, body=body))
            reply = remaining.pop(0)
            if reply is HANG_UP:
                self.close_connection = True
                return
            status, headers, content = reply
            self.send_response(status)
            reply_headers = {"Content-Length": str(len(content)), **headers}
            for name, value in reply_headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(content)
            self.close_connection = reply_headers["Content-Length"] != str(len(content))

        do_GET = do_POST = do_PUT = do_DELETE = handle_one

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}", seen=requests)
        finally:
            server.shutdown()
            thread.join()


class Relay:
    """Passes bytes on to a service; `cut` breaks every connection."""

    def __init__(self, port):
        self._to, self._open = port, []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def close(self):
        self.cut()
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self):
        with suppress(OSError):
            while True:
                client_socket, _ = self._listening.accept()
                server_socket = socket.create_connection(("127.0.0.1", self._to))
                self.connections += 1
                self._open += [client_socket, server_socket]
                for pair in ((client_socket, server_socket), (server_socket, client_socket)):
                    threading.Thread(target=self._pass_on, args=pair, daemon=True).start()

    def _pass_on(self, source, sink):
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for connection in (source, sink):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            if connection is source:
                connection.close()
