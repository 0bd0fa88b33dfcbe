"""Bad requests over a real connection: each has the contract's answer, and both ways the same."""

import json

import pytest

from app.config.settings import Settings
from app.main import create_app
from tests.api.routes.test_predict_fast_path import comparable, post_both_ways, serve_app
from tests.conftest import DATA
from tests.image.test_bombs import FALSE_HEADERS, TOO_LARGE
from tests.served import open_socket

LARGE = 10 * 2**20 - 100
JSON = {"content-type": "application/json"}
FILE = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"'
END = b"\r\n--x--\r\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    state = tmp_path_factory.mktemp("hostile") / "var"
    settings = Settings(
        state_dir=state, data_dir=DATA, device="cpu", log_level="error", predict_timeout=60
    )
    with serve_app(create_app(settings)) as client:
        yield client


@pytest.mark.parametrize("kind", [None, "image/png", "text/html", "nonsense", "image/svg+xml;;=,"])
@pytest.mark.parametrize(
    ("uploads", "status", "code"),
    [(TOO_LARGE, 413, "image_too_large"), (FALSE_HEADERS, 415, "not_an_image")],
)
def test_images_that_lie(service, uploads, status, code, kind):
    for upload in uploads.values():
        headers = {"content-type": kind} if kind else {}
        one, other = post_both_ways(service, content=upload, headers=headers)
        assert comparable(one) == comparable(other)
        assert (one.status_code, one.json()["code"]) == (status, code)


def repeated(count, name=b"file"):
    part = b'--x\r\nContent-Disposition: form-data; name="%b"; filename="a"\r\n\r\na\r\n' % name
    return part * count + b"--x--\r\n"


NESTED = FILE + b"\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\na\r\n--y--" + END
X, BAD, FIELD = "x", (400, "malformed_request"), (422, "invalid_field")
FORMS = {
    "no_boundary": ("", repeated(1), BAD),
    "empty_boundary": ('""', repeated(1), BAD),
    "long_boundary": ("y" * 5000, repeated(1), BAD),
    "10_000_parts": (X, repeated(10_000), BAD),
    "endless_header": (X, FILE + b"\r\nX: " + b"y" * LARGE, BAD),
    "endless_name": (X, FILE + b"\r\n" + b"y" * LARGE, BAD),
    "many_headers": (X, FILE + b"\r\nX: y" * 1_000_000 + b"\r\n\r\na" + END, BAD),
    "no_end": (X, FILE + b"\r\n\r\nabc", BAD),
    "nothing": (X, b"", BAD),
    "only_the_end": (X, b"--x--\r\n", FIELD),
    "nul_in_a_header": (X, FILE + b"\r\nX: \0\r\n\r\na" + END, (415, "not_an_image")),
    "two_files": (X, repeated(2), FIELD),
    "no_utf_8": (X, repeated(1, b"\xff\xfe"), FIELD),
    "many_long_names": (X, b"".join(repeated(1, b"%d" % n + b"y" * 3000)[:-7] for n in range(900))
        + b"--x--\r\n", FIELD),
    "nested": (X, NESTED, (415, "not_an_image")),
    "transfer_encoding": (
        X, FILE + b"\r\nContent-Transfer-Encoding: base64\r\n\r\naGk=" + END, (415, "not_an_image")
    ),
}  # fmt: skip


@pytest.mark.parametrize(("boundary", "body", "expected"), FORMS.values(), ids=FORMS)
def test_forms_that_are_none(service, boundary, body, expected):
    kind = f"multipart/form-data; boundary={boundary}" if boundary else "multipart/form-data"
    one, other = post_both_ways(service, content=body, headers={"content-type": kind})
    assert comparable(one) == comparable(other)
    assert (one.status_code, one.json()["code"]) == expected
    assert len(one.content) < 2000, "what was sent is not sent back"


@pytest.mark.parametrize("name", [b"../../a", b"a\\b", b"\xff\xfe", b"%00", b"a" * 3000, b""])
def test_names_of_files_are_nobodys_business(service, seven, name):
    body = FILE.replace(b'"a"', b'"%b"' % name) + b"\r\n\r\n" + seven + END
    for answer in post_both_ways(
        service, content=body, headers={"content-type": "multipart/form-data; boundary=x"}
    ):
        assert (answer.status_code, answer.json()["digit"]) == (200, 7)


BOMBS = {
    "deep": b'{"%b": ' + b"[" * 10**4 + b"]" * 10**4 + b"}",
    "deep_objects": b'{"%b":' * 10**3 + b"1" + b"}" * 10**3,
    "open": b"[" * 60_000,
    "long_number": b'{"%b": ' + b"9" * 60_000 + b"}",
    "large_number": b'{"%b": 1e999999999}',
    "not_a_number": b'{"%b": NaN}',
    "half_a_character": b'{"%b": "\\ud800"}',
    "no_utf_8": b'{"%b": "\xff\xfe"}',
    "utf_16": '{"image": "x"}'.encode("utf-16"),
    "twice": b'{"%b": 1, "%b": "x"}',
    "null": b"null",
    "spaces": b" " * 60_000,
}
FIELDS_BY_PATH = {
    "/predict": b"image",
    "/invocations": b"image",
    "/train": b"epochs",
    "/models/current": b"version",
    "/v1/models/mynet:predict": b"instances",
    "/v2/models/mynet/infer": b"inputs",
}


@pytest.mark.parametrize("path", FIELDS_BY_PATH)
@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_json_that_is_odd(service, path, bomb):
    method = "PUT" if path.endswith("current") else "POST"
    answer = service.request(
        method, path, content=bomb.replace(b"%b", FIELDS_BY_PATH[path]), headers=JSON
    )
    assert answer.status_code in (400, 422)
    body = json.loads(answer.content)
    assert body.get("code") in (None, "malformed_request", "invalid_field")
    assert body.get("detail") or body["error"]
    assert len(answer.content) < 1000


@pytest.mark.parametrize("path", FIELDS_BY_PATH)
def test_json_of_ten_megabytes(service, path):
    escapes = b"\\u0041" * (LARGE // 6 - 100)
    for value in (b'"%b"' % escapes, b"[" * LARGE, b"1" * (LARGE - 100)):
        method = "PUT" if path.endswith("current") else "POST"
        body = b'{"%b":%b}' % (FIELDS_BY_PATH[path], value[: LARGE - 50])
        answer = service.request(method, path, content=body, headers=JSON)
        assert answer.status_code in (400, 413, 415, 422)


def raw(service, headers, body):
    """The status of the answer to these very bytes."""
    with open_socket(service) as connection:
        connection.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\n" + headers + b"\r\n" + body
        )
        return int(connection.recv(4096).split()[1])


def test_headers_sent_twice(service, seven):
    length = b"Content-Length: %d\r\n" % len(seven)
    assert raw(service, length, seven) == 200
    assert raw(service, length * 2, seven) == 400
    assert raw(service, length + b"Content-Length: 1\r\n", seven) == 400
    assert raw(service, length + b"Transfer-Encoding: chunked\r\n", seven) == 400
    assert raw(service, b"Content-Length: -1\r\n", seven) == 400
    kinds = b"Content-Type: image/png\r\nContent-Type: application/json\r\n"
    assert raw(service, length + kinds, seven) in (200, 400)
