"""Tracing set-up from `OTEL_*` variables; OpenTelemetry is imported only if they are set."""

import logging
import os
from typing import Final

from app.telemetry.tracing import Tracing

VARIABLES: Final = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_TRACES_EXPORTER",
)
log = logging.getLogger(__name__)


def begin() -> Tracing | None:
    """Start tracing if the environment asks for it; otherwise return None."""
    if not _is_enabled():
        return None
    try:
        from app.telemetry.otel import NoExporter, begin_spans
    except ImportError as error:
        log.warning("tracing disabled, run pip install '.[otel]': %s", error)
        return None
    try:
        return begin_spans()
    except NoExporter as error:
        log.warning("tracing disabled: %s", error)
        return None


def _is_enabled() -> bool:
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() == "none":
        return False
    return any(os.environ.get(name, "").strip() for name in VARIABLES)
