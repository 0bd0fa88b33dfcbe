"""What can be told of requests and jobs as traces.

What enters: what began when, how long it took, and what is known of it. What leaves: nothing here;
who sends traces is a `Tracing`. This module does not know where traces go, nor whether they do.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

Attributes = Mapping[str, str | int | float | bool]
# Tells that something has ended which began when the last one did, with what is known of it.
EndStage = Callable[[str, Attributes], None]


class FinishedSpan(NamedTuple):
    """Something that is over: when it began, by `time.perf_counter`, and how long it took."""

    name: str
    began: float
    seconds: float
    attributes: Attributes = MappingProxyType({})


class Tracing(Protocol):
    """The traces of one process."""

    def telemetry_options(self) -> dict[str, Any]:
        """Return FastAPI's setting `telemetry`, so that each request has a span."""

    def ids(self) -> dict[str, str]:
        """Name the current span, for lines in the log; nothing where there is none."""

    def set_attributes(self, attributes: Attributes) -> None:
        """Add to the current span what is known by now."""

    def record_stages(self, stages: Iterable[FinishedSpan]) -> None:
        """Record what the current span consisted of."""

    def inject(self) -> dict[str, str]:
        """Return what goes on with the current trace in another process."""

    def attempt(
        self,
        trace_context: Mapping[str, str],
        attributes: Attributes,
        expected_errors: tuple[type[Exception], ...],
    ) -> AbstractContextManager[EndStage]:
        """Trace an attempt at a job, which may end with an exception that is no error."""

    def close(self) -> None:
        """Send what was not sent yet, with little patience."""


def no_attempt() -> AbstractContextManager[EndStage]:
    """Return what stands for a traced attempt where there are no traces."""
    return nullcontext(noop)


def noop(_name: str, _attributes: Attributes) -> None:
    """Stand where there is nobody to tell."""
