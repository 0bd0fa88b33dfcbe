"""Tracing interface for requests and jobs.

`app.telemetry.otel` implements it, so that most of the app does not import OpenTelemetry.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

Attributes = Mapping[str, str | int | float | bool]
# Records a stage with these attributes; it began when the previous one ended.
EndStage = Callable[[str, Attributes], None]


class FinishedSpan(NamedTuple):
    """A finished span: start by `time.perf_counter`, duration in seconds, attributes."""

    name: str
    began: float
    seconds: float
    attributes: Attributes = MappingProxyType({})


class Tracing(Protocol):
    """The traces of one process."""

    def telemetry_options(self) -> dict[str, Any]:
        """Return FastAPI's setting `telemetry`, which creates a span for each request."""

    def ids(self) -> dict[str, str]:
        """Return the ids of the current trace and span for log lines; empty without a span."""

    def set_attributes(self, attributes: Attributes) -> None:
        """Add attributes to the current span."""

    def record_stages(self, stages: Iterable[FinishedSpan]) -> None:
        """Record the stages of the current span."""

    def inject(self) -> dict[str, str]:
        """Return headers that continue the current trace in another process."""

    def attempt(
        self,
        trace_context: Mapping[str, str],
        attributes: Attributes,
        expected_errors: tuple[type[Exception], ...],
    ) -> AbstractContextManager[EndStage]:
        """Trace an attempt at a job. `expected_errors` do not mark the span as failed."""

    def close(self) -> None:
        """Send the remaining spans, within a short time-out."""


def no_attempt() -> AbstractContextManager[EndStage]:
    """Return a context that traces nothing."""
    return nullcontext(noop)


def noop(_name: str, _attributes: Attributes) -> None:
    """Do nothing, instead of recording a stage."""
