"""A receiver of OTLP over HTTP, as a collector is one, that keeps what it is sent."""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

wire = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")


class Collector(ThreadingHTTPServer):
    """`spans` has each span with the attributes of its resource."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Receiver)
        self.spans = []

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_port}"

    def named(self, name):
        return [span for span, _ in self.spans if span.name == name]

    def children(self, parent):
        return [span for span, _ in self.spans if span.parent_span_id == parent.span_id]


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self):
        assert self.path == "/v1/traces"
        content = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            content = gzip.decompress(content)
        for resource_spans in wire.ExportTraceServiceRequest.FromString(content).resource_spans:
            resource = attributes(resource_spans.resource)
            for scope in resource_spans.scope_spans:
                self.server.spans += [(span, resource) for span in scope.spans]
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def attributes(message):
    """Return the attributes of a span or a resource."""
    return {
        attribute.key: getattr(attribute.value, attribute.value.WhichOneof("value"))
        for attribute in message.attributes
    }


@contextmanager
def run_collector() -> Iterator[Collector]:
    with Collector() as collector:
        thread = Thread(target=collector.serve_forever, daemon=True)
        thread.start()
        try:
            yield collector
        finally:
            collector.shutdown()
            thread.join()
