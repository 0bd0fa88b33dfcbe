"""Content of uploads does not get into the log, at any level."""

import base64
import logging
from io import BytesIO

import pytest
from PIL import Image
from starlette.testclient import TestClient

from app.main import configure_logs, create_app
from tests.api.routes.test_predict_fast_path import serve_app

SECRET = "Ink that only the sender saw."
PIECE = 12


@pytest.fixture
def debug_settings(settings):
    return settings.model_copy(update={"log_level": "debug"})


def logging_app(settings):
    """Return the app in a process that logs everything to standard error, as `mynet serve` does."""
    configure_logs(settings, None)
    return create_app(settings)


def image(form):
    """A digit in a file that tells more than its pixels."""
    digit = Image.new("L", (28, 28), 255)
    digit.paste(0, (12, 4, 16, 24))
    exif = Image.Exif()
    exif[270] = SECRET
    buffer = BytesIO()
    digit.save(buffer, form, exif=exif)
    assert SECRET.encode() in buffer.getvalue()
    return buffer.getvalue()


def pieces(upload):
    """All that is as long as a piece of it, as text, as Python shows it, in hex and in base64."""
    for start in range(len(upload) - PIECE):
        piece = upload[start : start + PIECE]
        yield piece.decode("latin-1")
        yield repr(piece)[2:-1]
        yield piece.hex()
        yield base64.b64encode(piece).decode()


UPLOADS = {
    "a TIFF": image("TIFF"),
    "a JPEG": image("JPEG"),
    "half of a TIFF": image("TIFF")[:-300],
    "half of a JPEG": image("JPEG")[:-300],
    "no image": SECRET.encode() * 9,
}
REQUESTS = {
    "form": lambda upload: {"files": {"file": ("a", upload)}},
    "two fields": lambda upload: {"files": [("file", upload), ("file", upload)]},
    "another field": lambda upload: {"files": {"image": ("a", upload)}},
    "bytes": lambda upload: {"content": upload},
    "json": lambda upload: {"json": {"image": base64.b64encode(upload).decode()}},
    "another name": lambda upload: {"json": {"picture": base64.b64encode(upload).decode()}},
    "no base64": lambda upload: {"json": {"image": upload.decode("latin-1")}},
}


def ask(client, path):
    """Send each upload in each form, and give the statuses of the answers."""
    return {
        client.post(path, **form(upload)).status_code
        for form in REQUESTS.values()
        for upload in UPLOADS.values()
    }


def check(log, path):
    assert f"POST {path.partition('?')[0]} " in log
    assert "DEBUG" in log, "all is logged"
    assert [piece for upload in UPLOADS.values() for piece in pieces(upload) if piece in log] == []


@pytest.mark.parametrize("path", ["/predict", "/predict?explain=true", "/invocations"])
def test_routes_keep_it_to_themselves(debug_settings, capsys, path):
    with TestClient(logging_app(debug_settings), raise_server_exceptions=False) as client:
        logging.getLogger("app.test").debug("all is logged")
        statuses = ask(client, path)
    assert statuses == {200, 415, 422}
    check(capsys.readouterr().err, path)


def test_the_short_way_does_so_too(debug_settings, capsys):
    with serve_app(logging_app(debug_settings)) as client:
        logging.getLogger("app.test").debug("all is logged")
        statuses = ask(client, "/predict")
    assert statuses == {200, 415, 422}
    check(capsys.readouterr().err, "/predict")


def test_libraries_would_tell(debug_settings, capsys):
    """Show that the tests above can fail: Pillow logs the content at this level."""
    logging_app(debug_settings)
    logging.getLogger("PIL").setLevel(logging.DEBUG)
    with Image.open(BytesIO(UPLOADS["a TIFF"])) as opened:
        opened.load()
    assert SECRET in capsys.readouterr().err
