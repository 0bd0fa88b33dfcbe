"""Logging to standard error: one line per event, as text or JSON, with its request or job id."""

import json
import logging
import random
import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, Final, TextIO

request_id: Final[ContextVar[str]] = ContextVar("request_id", default="-")
job_id: Final[ContextVar[str | None]] = ContextVar("job_id", default=None)

# Names and values that are added to a line in JSON.
LogFields = Mapping[str, Any]

APP_LOGGER: Final = "app"
ACCESS_LOGGER: Final = "app.access"
AUDIT_LOGGER: Final = "app.audit"
DUPLICATE_PREFIX: Final = "Exception in ASGI application"
# At level DEBUG, these quote what clients send.
VERBOSE_LOGGERS: Final = ("PIL", "python_multipart")


def new_request_id() -> bytes:
    """Return a random id for a request that has none."""
    return b"%016x" % random.getrandbits(64)


def configure(level: str, form: str, context_fields: Callable[[], LogFields] = dict) -> None:
    """Send all logs of this process to standard error, in the given form.

    `context_fields` returns fields for JSON lines; it is called for each line.
    """
    _disable_unused_record_fields()
    handler = LineHandler()
    handler.setFormatter(JsonLines(context_fields) if form == "json" else TextLines())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    logging.getLogger(AUDIT_LOGGER).setLevel(logging.INFO)  # the audit log is written at any level
    for name in VERBOSE_LOGGERS:
        logging.getLogger(name).setLevel(max(logging.INFO, logging.getLogger().level))
    # Unexpected errors are logged when they are answered; uvicorn would log them again.
    logging.getLogger("uvicorn.error").addFilter(_is_not_duplicate)


def configure_app(level: str, form: str, context_fields: Callable[[], LogFields] = dict) -> None:
    """Log the app in a process that another server or app has set up, without global changes.

    If the root logger has no handler, the app gets one of its own on standard error.
    """
    logging.getLogger(AUDIT_LOGGER).setLevel(logging.INFO)
    app_logger = logging.getLogger(APP_LOGGER)
    if app_logger.hasHandlers():
        return
    handler = LineHandler()
    handler.setFormatter(JsonLines(context_fields) if form == "json" else TextLines())
    app_logger.addHandler(handler)
    app_logger.setLevel(level.upper())


def extra_fields(**fields: Any) -> dict[str, LogFields]:
    """Return the argument `extra` of a log call, so that a JSON line has these fields."""
    return {"known": fields}


def redact(text: str) -> str:
    """Replace passwords in URLs, before the host or in the query.

    A user name without a password may be a key, and is replaced too.
    """
    text = re.sub(r"(//[^:/@\s]*:)[^@\s]*@([^/\s]*@)?", r"\1***@", text)
    text = re.sub(r"(://)[^:/\s]+@", r"\1***@", text)
    return re.sub(r"([?&]\w*password=)[^&\s]*", r"\1***", text)


def _disable_unused_record_fields() -> None:
    """Disable unused record fields (see "Optimization" in logging's guide): a third of the cost."""
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    if hasattr(logging, "logAsyncioTasks"):
        logging.logAsyncioTasks = False
    logging._srcfile = None


class LineHandler(logging.StreamHandler[TextIO]):
    """Writes one line for each record."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        self.write_lines((record,))

    def write_lines(self, records: Iterable[logging.LogRecord]) -> None:
        """Write the lines of all records at once. A record may be the one before, changed."""
        lines = []
        for record in records:
            try:
                lines.append(self.format(record) + self.terminator)
            except Exception:  # a line that cannot be written must not stop the work it reports
                self.handleError(record)
        self.acquire()
        try:
            self.stream.write("".join(lines))
            self.flush()
        except (OSError, ValueError):  # a full disk or closed pipe cannot be reported anywhere
            pass
        finally:
            self.release()


def only_handler(logger: logging.Logger) -> LineHandler | None:
    """Return the handler that `configure` or `configure_app` sets if it alone gets all lines."""
    handlers = list(logger.handlers)
    ancestor = logger
    while ancestor.propagate and ancestor.parent:
        ancestor = ancestor.parent
        handlers += ancestor.handlers
    if logger.filters or len(handlers) != 1:
        return None
    (handler,) = handlers
    return handler if isinstance(handler, LineHandler) and not handler.filters else None


class TextLines(logging.Formatter):
    """Formats `2026-01-31T12:00:00.000Z INFO 3f2a app.main: message`."""

    def format(self, record: logging.LogRecord) -> str:
        line = (
            f"{_time(record)} {record.levelname} {request_id.get()} "
            f"{record.name}: {record.getMessage()}"
        )
        return _one_line(" | ".join([line, *_trace(self, record)]) if record.exc_info else line)


class JsonLines(logging.Formatter):
    """Formats the same fields as a JSON object, with additional fields."""

    def __init__(self, context_fields: Callable[[], LogFields]) -> None:
        super().__init__()
        self.context_fields = context_fields

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "time": _time(record),
            "level": record.levelname,
            "request_id": request_id.get(),
            **self._record_fields(record),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if trace := _trace(self, record):
            fields["trace"] = trace[0]
        return json.dumps(fields)

    def _record_fields(self, record: logging.LogRecord) -> LogFields:
        job = job_id.get()
        record_fields: LogFields = getattr(record, "known", {})
        return {
            **({} if job is None else {"job_id": job}),
            **self.context_fields(),
            **record_fields,
        }


def _is_not_duplicate(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(DUPLICATE_PREFIX)


def _one_line(text: str) -> str:
    """Escape line breaks and control characters: text from clients could forge log lines."""
    lines = text.replace("\n", " | ")
    if lines.isprintable():
        return lines
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in lines
    )


def _time(record: logging.LogRecord) -> str:
    return f"{_second(int(record.created))}.{int(record.msecs):03d}Z"


@lru_cache(1)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _trace(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    return [formatter.formatException(record.exc_info)] if record.exc_info else []
