"""What is told of requests and jobs as traces, wherever they go.

What enters: `OTEL_*` variables. What leaves: a `Tracing`, or None, where nothing is imported and
nothing is told. This module does not know of OpenTelemetry, but for its variables.
"""

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import Any, Final, NamedTuple, Protocol

Known = Mapping[str, str | int | float | bool]
# Tells that something has ended which began when the last one did, with what is known of it.
Tell = Callable[[str, Known], None]
VARIABLES: Final = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_TRACES_EXPORTER",
)
log = logging.getLogger(__name__)


class Past(NamedTuple):
    """Something that is over: when it began, by `time.perf_counter`, and how long it took."""

    name: str
    began: float
    seconds: float
    known: Known = MappingProxyType({})


class Tracing(Protocol):
    """The traces of one process."""

    def of_requests(self) -> dict[str, Any]:
        """Give FastAPI's setting `telemetry`, so that each request has a span."""

    def ids(self) -> dict[str, str]:
        """Name the current span, for lines in the log; nothing where there is none."""

    def know(self, known: Known) -> None:
        """Add to the current span what is known by now."""

    def tell(self, stages: Iterable[Past]) -> None:
        """Tell what the current span consisted of."""

    def trail(self) -> dict[str, str]:
        """Give what goes on with the current trace in another process."""

    def attempt(
        self, trail: Mapping[str, str], known: Known, harmless: tuple[type[Exception], ...]
    ) -> AbstractContextManager[Tell]:
        """Trace an attempt at a job, which may end with an exception that is no error."""

    def close(self) -> None:
        """Send what was not sent yet, with little patience."""


def begin() -> Tracing | None:
    """Begin to trace, where the environment asks for it."""
    if not _is_wanted():
        return None
    try:
        from app.spans import NoExporter, begin_spans
    except ImportError as error:
        log.warning("no traces: they need the extra: pip install '.[otel]' (%s)", error)
        return None
    try:
        return begin_spans()
    except NoExporter as error:
        log.warning("no traces: %s", error)
        return None


def no_attempt() -> AbstractContextManager[Tell]:
    """Give what stands for a traced attempt where there are no traces."""
    return nullcontext(untold)


def untold(_name: str, _known: Known) -> None:
    """Stand where there is nobody to tell."""


def _is_wanted() -> bool:
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none":
        return False
    return any(os.environ.get(name, "").strip() for name in VARIABLES)
