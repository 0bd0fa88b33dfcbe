import asyncio
import json
import logging
import re
import time

import pytest

from app.api.access_log import AccessLog
from app.api.middleware import RequestId
from app.telemetry import logs
from app.telemetry.metrics import Route


def lines(capsys, form):
    logs.configure("info", form)
    logs.request_id.set("abc")
    log = logging.getLogger("app.test")
    log.debug("not shown")
    log.info("first\nsecond %s\x1b\u2028", 3)
    try:
        raise ValueError("broken")
    except ValueError:
        log.exception("failed")
    return capsys.readouterr().err.splitlines()


def test_text_is_one_line_an_event_with_the_request_id(capsys):
    first, failed = lines(capsys, "text")
    assert first.endswith("INFO abc app.test: first | second 3\\x1b\\u2028")
    assert "ERROR abc app.test: failed | Traceback" in failed
    assert failed.endswith("ValueError: broken")


def test_json_is_one_object_an_event(capsys):
    first, failed = (json.loads(line) for line in lines(capsys, "json"))
    assert (first["message"], first["request_id"], first["level"]) == (
        "first\nsecond 3\x1b\u2028",
        "abc",
        "INFO",
    )
    assert "ValueError: broken" in failed["trace"]


def test_json_tells_what_is_known_of_a_line(capsys):
    logs.configure("info", "json", lambda: {"trace_id": "t", "span_id": "s"})
    log = logging.getLogger("app.test")
    log.info("plain")
    job = logs.job_id.set("j-1")
    log.info("of this job")
    log.info("of a span of its own", extra=logs.extra_fields(version=3, span_id="other"))
    logs.job_id.reset(job)
    log.info("of another", extra=logs.extra_fields(job_id="j-2"))
    records = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    names = ("job_id", "version", "trace_id", "span_id")
    assert [tuple(line.get(name) for name in names) for line in records] == [
        (None, None, "t", "s"),
        ("j-1", None, "t", "s"),
        ("j-1", 3, "t", "other"),
        ("j-2", None, "t", "s"),
    ]


@pytest.mark.parametrize(
    ("level", "min_level"), [("debug", "info"), ("info", "info"), ("warning", "warning")]
)
def test_no_level_lets_libraries_quote_uploads(level, min_level):
    logs.configure(level, "text")
    for name in ("PIL.TiffImagePlugin", "python_multipart.multipart"):
        effective = logging.getLogger(name).getEffectiveLevel()
        assert effective == logging.getLevelNamesMapping()[min_level.upper()]


def test_an_unexpected_error_that_uvicorn_logs_again_is_dropped(capsys):
    logs.configure("info", "text")
    server_log = logging.getLogger("uvicorn.error")
    server_log.error("Exception in ASGI application\n", exc_info=ZeroDivisionError())
    server_log.error("Another error")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("uvicorn.error: Another error")


class Broken:
    def write(self, _):
        raise OSError(28, "No space left on device")

    def flush(self):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("logger", ["app.test", logs.ACCESS_LOGGER])
def test_a_log_that_cannot_be_written_stops_nothing(logger):
    logs.configure("info", "text")
    logging.getLogger().handlers[0].setStream(Broken())
    unhandled = []

    async def go():
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: unhandled.append(context)
        )
        logging.getLogger(logger).info("not shown")
        await asyncio.sleep(0.01)
        return "went on"

    assert asyncio.run(go()) == "went on"
    assert unhandled == []


@pytest.mark.parametrize("form", ["text", "json"])
def test_requests_that_are_answered_together_keep_their_ids(capsys, form):
    logs.configure("info", form)

    async def app(_scope, _receive, send):
        await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def ask(request_id):
        headers = [(b"x-request-id", request_id.encode())]
        scope = {"type": "http", "method": "GET", "path": f"/{request_id}", "headers": headers}
        await around(scope, None, discard_message)

    async def discard_message(_message):
        pass

    async def go():
        await asyncio.gather(*(ask(f"id-{number}") for number in range(5)))
        await asyncio.sleep(0.01)

    around = RequestId(app, AccessLog())
    asyncio.run(go())
    lines = capsys.readouterr().err.splitlines()
    if form == "json":
        records = [json.loads(line) for line in lines]
        ids = [(line["request_id"], line["message"].split()[1]) for line in records]
    else:
        ids = [(line.split()[2], line.split()[5]) for line in lines]
    assert ids == [(f"id-{number}", f"/id-{number}") for number in range(5)]


def test_passwords_in_addresses_are_left_out():
    text = "postgresql://me:secret@there/db: no answer, http://there:5000/a is fine"
    assert logs.redact(text) == text.replace("secret", "***")


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("postgresql://user:pa@ss@host/db", "postgresql://user:***@host/db"),
        ("postgresql://user:p/a@s@s@host/db a@b", "postgresql://user:***@host/db a@b"),
        ("postgresql://:pa@ss@host", "postgresql://:***@host"),
        ("s3://SECRET@bucket", "s3://***@bucket"),
        ("s3://SEC@RET@bucket:9000/a: away", "s3://***@bucket:9000/a: away"),
        ("s3://KEY:SECRET@bucket/a@b", "s3://KEY:***@bucket/a@b"),
        ("s3://bucket/a@b is there, says me@here", "s3://bucket/a@b is there, says me@here"),
        ("x://host?sslpassword=secret&a=1", "x://host?sslpassword=***&a=1"),
    ],
)
def test_whatever_may_be_a_secret_in_an_address_is_left_out(text, redacted):
    assert logs.redact(text) == redacted


@pytest.mark.parametrize("form", ["text", "json"])
def test_lines_written_together_are_those_of_the_logger(form, capsys, monkeypatch):
    """`AccessLog` formats one record for many lines if no other handler gets them."""

    async def log_requests():
        access_log, started = AccessLog(), time.perf_counter() + 0.0123
        for status, fields in ((200, {"version": 3}), (415, {})):
            access_log.add("id", Route("POST", "/"), "POST", "/", status, started, fields)
        await asyncio.sleep(0.01)

    lines = []
    for only_handler in (logs.only_handler, lambda _: None):
        monkeypatch.setattr(logs, "only_handler", only_handler)
        logs.configure("info", form)
        asyncio.run(log_requests())
        text = capsys.readouterr().err
        lines.append([re.sub(r"-?[\d.]+ ms|\d{4}-\d\d-\d\dT[\d:.]+Z", "", text)])
    assert lines[0] == lines[1]
    assert len(lines[0][0].splitlines()) == 2


def test_lines_of_an_app_with_a_handler_of_its_own_are_written_together(monkeypatch):
    for logger in (logging.getLogger(), logging.getLogger(logs.APP_LOGGER)):
        monkeypatch.setattr(logger, "handlers", [])
        monkeypatch.setattr(logger, "level", logger.level)
    access_logger = logging.getLogger(logs.ACCESS_LOGGER)
    assert logs.only_handler(access_logger) is None
    logs.configure_app("info", "text")
    (handler,) = logging.getLogger(logs.APP_LOGGER).handlers
    assert logs.only_handler(access_logger) is handler
    logging.getLogger().handlers.append(logging.NullHandler())
    assert logs.only_handler(access_logger) is None
