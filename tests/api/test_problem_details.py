"""Every error has the one form, and no internals."""

import errno

import pytest
from starlette.testclient import TestClient

from app import errors
from app.errors import ServiceError
from app.main import create_app
from tests.conftest import settings_in

pytestmark = pytest.mark.read_only

ERROR_TYPES = [value for value in vars(errors).values() if isinstance(value, type)]
ERROR_TYPES = [
    error_type
    for error_type in ERROR_TYPES
    if issubclass(error_type, ServiceError) and error_type is not ServiceError
]

STORAGE_ERRORS = {
    "full": (errno.ENOSPC, "No space left on device"),
    "unreadable": (errno.EIO, "Input/output error"),
    "crowded": (errno.EMFILE, "Too many open files"),
}


@pytest.fixture(scope="module")
def raising_client(tmp_path_factory):
    app = create_app(settings_in(tmp_path_factory.mktemp("raising")))

    @app.get("/raise/{name}")
    async def raise_it(name: str) -> None:
        if name == "defect":
            raise RuntimeError("a secret")
        if name in STORAGE_ERRORS:
            raise OSError(*STORAGE_ERRORS[name], "/a/secret/path")
        if name == "timeout":
            raise TimeoutError("a secret")
        raise getattr(errors, name)("why", retry_after=3)

    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize("error_type", ERROR_TYPES, ids=lambda error_type: error_type.__name__)
def test_every_refusal_is_a_problem(raising_client, error_type):
    answer = raising_client.get(f"/raise/{error_type.__name__}", headers={"X-Request-ID": "mine"})
    assert answer.status_code == error_type.status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "3"
    assert answer.json() == {
        "type": "about:blank",
        "title": error_type.title,
        "status": error_type.status,
        "detail": "why",
        "code": error_type.code,
        "request_id": "mine",
    }


@pytest.mark.parametrize("name", STORAGE_ERRORS)
def test_a_disk_that_fails_is_a_503_in_words(raising_client, caplog, name):
    answer = raising_client.get(f"/raise/{name}")
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    assert answer.json()["detail"] == f"The state folder cannot be used: {STORAGE_ERRORS[name][1]}."
    assert "/a/secret/path" in caplog.text


def test_an_os_error_of_another_kind_is_a_defect(raising_client):
    assert raising_client.get("/raise/timeout").status_code == 500


def test_a_defect_is_a_500_without_internals_and_logged(raising_client, caplog):
    answer = raising_client.get("/raise/defect", headers={"X-Request-ID": "mine"})
    assert (answer.status_code, answer.json()["request_id"]) == (500, "mine")
    assert answer.headers["x-request-id"] == "mine"
    assert "secret" not in answer.text
    assert "a secret" in caplog.text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not_found"),
        ("DELETE", "/predict", 405, "method_not_allowed"),
        ("GET", "/web/nothing.js", 404, "not_found"),
        ("GET", "/web/../main.py", 404, "not_found"),
        ("GET", "/train/", 404, "not_found"),
        ("POST", "/predict/", 404, "not_found"),
        ("GET", "/models/1/", 404, "not_found"),
    ],
)
def test_what_is_not_there_is_a_problem(client, method, path, status, code):
    answer = client.request(method, path, follow_redirects=False)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    if status == 405:
        assert answer.headers["allow"] == "POST"
