"""Logging: one line an event, as text or as JSON, with the request it belongs to.

What enters: log records. What leaves: lines on standard error. This module does not know what is
logged.
"""

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final

request_id: Final[ContextVar[str]] = ContextVar("request_id", default="-")


NO_NEWS: Final = (
    "Exception in ASGI application",
    "Unsupported upgrade request",
    "No supported WebSocket library",
)


def configure(level: str, form: str) -> None:
    """Send everything that is logged in this process to standard error, in one form."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    # A defect is logged where it is answered, and offers to upgrade are passed over, as the
    # standard says: uvicorn would tell of the one once more, and warn of the other.
    logging.getLogger("uvicorn.error").addFilter(_is_news)


class TextLines(logging.Formatter):
    """`2026-01-31T12:00:00.000Z INFO 3f2a app.main: message`."""

    def format(self, record: logging.LogRecord) -> str:
        line = (
            f"{_time(record)} {record.levelname} {request_id.get()} "
            f"{record.name}: {record.getMessage()}"
        )
        return _one_line(" | ".join([line, *_trace(self, record)]))


class JsonLines(logging.Formatter):
    """The same fields as a JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": _time(record),
            "level": record.levelname,
            "request_id": request_id.get(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if trace := _trace(self, record):
            fields["trace"] = trace[0]
        return json.dumps(fields)


def _is_news(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(NO_NEWS)


def _one_line(text: str) -> str:
    """Line breaks and control characters in what clients send could forge events."""
    lines = text.replace("\n", " | ")
    if lines.isprintable():
        return lines
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in lines)


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    return [formatter.formatException(record.exc_info)] if record.exc_info else []
