"""OpenTelemetry tracing, configured by `OTEL_*`. The only module that imports OpenTelemetry.

A thread of the library sends the spans in batches.
"""

import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from importlib.metadata import version as version_of
from typing import Any, Final

from opentelemetry import propagate, trace
from opentelemetry.sdk.resources import (
    SERVICE_NAME,
    SERVICE_VERSION,
    OTELResourceDetector,
    Resource,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from app.telemetry.tracing import Attributes, EndStage, FinishedSpan

SERVICE: Final = "mynet"
# Seconds. Longer would delay the end of the process if the collector is unavailable.
SHUTDOWN_TIMEOUT: Final = 1.5
EXPORTERS: Final = "opentelemetry_traces_exporter"
OTLP: Final = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}


class NoExporter(Exception):
    """The exporter that the environment asks for is not available."""


class Spans:
    """The spans of one process; see `app.telemetry.tracing.Tracing`."""

    def __init__(self, exporters: Sequence[SpanExporter]) -> None:
        self.provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        for exporter in exporters:
            self.provider.add_span_processor(BatchSpanProcessor(exporter))
        self.tracer = self.provider.get_tracer(SERVICE, version_of(SERVICE))

    def telemetry_options(self) -> dict[str, Any]:
        return {
            "tracer_provider": self.provider,
            "operation_spans": False,
            "auto_configure": False,
            "exclude": _exclusion_filter(),
        }

    def ids(self) -> dict[str, str]:
        context = trace.get_current_span().get_span_context()
        if not context.is_valid:
            return {}
        return {
            "trace_id": trace.format_trace_id(context.trace_id),
            "span_id": trace.format_span_id(context.span_id),
        }

    def set_attributes(self, attributes: Attributes) -> None:
        trace.get_current_span().set_attributes(_attributes(attributes))

    def record_stages(self, stages: Iterable[FinishedSpan]) -> None:
        zero = time.time_ns() - time.perf_counter_ns()
        for name, began, seconds, attributes in stages:
            start = zero + int(began * 1e9)
            span = self.tracer.start_span(
                name, start_time=start, attributes=_attributes(attributes)
            )
            span.end(start + int(seconds * 1e9))

    def inject(self) -> dict[str, str]:
        carrier: dict[str, str] = {}
        propagate.inject(carrier)
        return carrier

    @contextmanager
    def attempt(
        self,
        trace_context: Mapping[str, str],
        attributes: Attributes,
        expected_errors: tuple[type[Exception], ...],
    ) -> Iterator[EndStage]:
        last = time.perf_counter()

        def end_stage(name: str, attributes: Attributes) -> None:
            nonlocal last
            began, last = last, time.perf_counter()
            self.record_stages([FinishedSpan(name, began, last - began, attributes)])

        with self.tracer.start_as_current_span(
            "train",
            propagate.extract(trace_context),
            SpanKind.CONSUMER,
            _attributes(attributes),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield end_stage
            except Exception as error:
                span.set_attribute("error.type", type(error).__qualname__)
                if not isinstance(error, expected_errors):
                    span.set_status(StatusCode.ERROR, str(error))
                raise

    def close(self) -> None:
        # The library itself would wait for half a minute.
        thread = threading.Thread(target=self.provider.shutdown, name="last spans", daemon=True)
        thread.start()
        thread.join(SHUTDOWN_TIMEOUT)


def begin_spans() -> Spans:
    """Return the spans, with exporters as the environment configures. Raises NoExporter."""
    names = os.environ.get("OTEL_TRACES_EXPORTER", "").strip() or "otlp"
    return Spans([_exporter(name.strip()) for name in names.split(",")])


def _exporter(name: str) -> SpanExporter:
    if name == "otlp":
        protocol = (
            os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
            or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
            or "http/protobuf"
        )
        name = OTLP.get(protocol.strip(), protocol)
    found = [*entry_points(group=EXPORTERS, name=name)]
    if not found:
        available = ", ".join(sorted({"otlp", *entry_points(group=EXPORTERS).names}))
        raise NoExporter(
            f"The exporter {name!r} does not exist. Set OTEL_TRACES_EXPORTER to one of: "
            f"{available}."
        )
    exporter: SpanExporter = found[0].load()()
    return exporter


def _resource() -> Resource:
    """Return the resource attributes; the environment overrides the defaults."""
    defaults = {SERVICE_NAME: SERVICE, SERVICE_VERSION: version_of(SERVICE)}
    return Resource.create({**defaults, **OTELResourceDetector().detect().attributes})


def _exclusion_filter() -> Callable[[MutableMapping[str, Any]], bool] | None:
    """Return whether a request is excluded from tracing by URL, or None if none is."""
    patterns = os.environ.get("OTEL_PYTHON_FASTAPI_EXCLUDED_URLS") or os.environ.get(
        "OTEL_PYTHON_EXCLUDED_URLS", ""
    )
    expressions = [pattern.strip() for pattern in patterns.split(",") if pattern.strip()]
    if not expressions:
        return None
    search = re.compile("|".join(expressions)).search

    def is_excluded(scope: MutableMapping[str, Any]) -> bool:
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        return search(f"{scope.get('scheme', 'http')}://{host}{scope['path']}") is not None

    return is_excluded


def _attributes(attributes: Attributes) -> Attributes:
    """Prefix the names of attributes with the service: OpenTelemetry reserves names without one."""
    return {f"{SERVICE}.{name}": value for name, value in attributes.items()}
