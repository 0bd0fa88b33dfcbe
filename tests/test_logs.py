import json
import logging

import pytest

from app import logs


@pytest.fixture(autouse=True)
def restored():
    before = logging.getLogger().handlers[:], logging.getLogger().level
    yield
    logging.getLogger().handlers[:], logging.getLogger().level = before
    logging.captureWarnings(False)


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
