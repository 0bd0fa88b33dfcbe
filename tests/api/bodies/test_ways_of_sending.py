"""Ways in which clients send images: all that are unambiguous are read."""

import base64
import json
import random
from urllib.parse import quote

import pytest

from app.main import create_app
from tests.api.routes.test_predict_fast_path import THE_ROUTE, comparable
from tests.conftest import png, settings_in
from tests.served import serve_app

LABELS = (
    None,
    "application/json",
    "Application/JSON; charset=utf-8",
    "application/octet-stream",
    "application/x-www-form-urlencoded",
    "image/png",
    "image/jpeg",
    "text/plain",
    "text/plain;charset=UTF-8",
    "nonsense",
)
FILENAMES = ("", "; filename*=UTF-8''%e2%82%ac.png", '; filename=""', '; filename="7.png"')
TYPES = ("", "Content-Type: image/png\r\n", "Content-Type: application/octet-stream\r\n")


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    with serve_app(create_app(settings_in(tmp_path_factory.mktemp("sending")))) as client:
        yield client


@pytest.fixture(scope="module")
def uploads(mnist):
    """Ten test images as PNG, by the digit that the shipped version reads in each of them."""
    pairs = zip(mnist.test.pixels[:20], mnist.test.labels[:20].tolist(), strict=True)
    return [(png(pixels.numpy()), label) for pixels, label in pairs if label != 5][:10]


def part(name, content, filename="", kind=""):
    head = f'--x7\r\nContent-Disposition: form-data; name="{name}"{filename}\r\n{kind}\r\n'
    return head.encode() + content + b"\r\n"


def post(client, path, body, kind="multipart/form-data; boundary=x7"):
    """Post a body, closed if it is a form; to `/predict` on both ways, which must agree."""
    body = body + b"--x7--\r\n" if "multipart" in (kind or "") else body
    headers = {"content-type": kind} if kind else {}
    answer = client.post(path, content=body, headers=headers)
    if path == "/predict":
        other = client.post(THE_ROUTE, content=body, headers=headers)
        assert comparable(answer) == comparable(other)
    return answer


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("filename", FILENAMES)
def test_part_with_the_name_of_a_file_is_the_file_on_every_route(client, uploads, filename, kind):
    (seven, digit), *_ = uploads
    for path in ("/predict", "/invocations"):
        answer = post(client, path, part("file", seven, filename, kind))
        assert answer.json()["digit"] == digit
    label = part("label", str(digit).encode())
    answer = post(client, "/feedback", part("file", seven, filename, kind) + label)
    assert answer.status_code in (200, 201) and answer.json()["label"] == digit
    for name in ("files", "files[]", "files[%d]"):
        parts = [
            part(name.replace("%d", str(number)), upload, filename, kind)
            for number, (upload, _) in enumerate(uploads)
        ]
        answers = post(client, "/predict/batch", b"".join(parts)).json()["predictions"]
        assert [answer["digit"] for answer in answers] == [label for _, label in uploads]


def test_weights_without_a_filename_are_read_as_the_file(client, monkeypatch):
    contents = []

    async def import_upload(_settings, registry, content, _note):
        contents.append(content)
        return registry.card(1)

    monkeypatch.setattr("app.api.routes.models.import_upload", import_upload)
    for filename in FILENAMES:
        assert post(client, "/models", part("file", b"weights", filename)).status_code == 201
    assert contents == [b"weights"] * len(FILENAMES)


def texts(upload, rng):
    """The ways in which clients write an image as text, each with whitespace drawn."""
    text = base64.b64encode(upload).decode()
    width = rng.randint(40, 100)
    wrapped = "".join(
        text[start : start + width] + rng.choice(["\n", "\r\n", " ", "\t"])
        for start in range(0, len(text), width)
    )
    url = (
        rng.choice(["data:image/png;base64,", "DATA:;Base64,", "data:image/x;a=b;base64, "]) + text
    )
    return {
        "base64": text,
        "wrapped": wrapped,
        "URL-safe": base64.urlsafe_b64encode(upload).decode().rstrip("="),
        "data URL": url,
        "percent-encoded base64": quote(text, safe=""),
        "percent-encoded data URL": quote(url, safe=rng.choice(["", ":,/;"])),
        "padded with spaces": f"\n {url} \r\n",
        "Python bytes": str(text.encode()),
    }


@pytest.mark.parametrize("way", texts(b"", random.Random(1)))
def test_image_as_text_is_read_in_json(client, uploads, way):
    rng = random.Random(way)
    for upload, digit in uploads:
        text = texts(upload, rng)[way]
        answer = client.post("/predict", json={"image": text})
        assert answer.json().get("digit") == digit, answer.text
        for body in ({"instances": [text]}, {"instances": [{"b64": text}]}):
            answer = client.post("/v1/models/mynet:predict", json=body)
            assert answer.json()["predictions"][0]["digit"] == digit


@pytest.mark.parametrize("label", LABELS)
def test_image_as_text_is_read_whatever_its_label(client, uploads, label):
    rng = random.Random(str(label))
    for upload, digit in uploads:
        for way, text in texts(upload, rng).items():
            if way == "Python bytes":
                continue
            body = rng.choice([b"", b"\xef\xbb\xbf"]) + text.encode()
            assert post(client, "/predict", body, label).json().get("digit") == digit, (way, body)


@pytest.mark.parametrize("label", LABELS)
def test_json_and_images_are_read_whatever_their_label(client, uploads, label):
    rng = random.Random(str(label))
    for upload, digit in uploads:
        ways = texts(upload, rng)
        del ways["Python bytes"]
        text = rng.choice([*ways.values()])
        document = json.dumps(rng.choice([{"image": text}, {"id": 1, "image": text}, text]))
        spaces = rng.choice(["", " ", "\r\n\t"])
        for body in (
            upload,
            (spaces + document).encode(),
            document.encode("utf-8-sig"),
            f"image={quote(text, safe='')}&id=7".encode(),
            f"file={quote(text, safe='')}".encode(),
        ):
            assert post(client, "/predict", body, label).json().get("digit") == digit, body


def test_text_in_a_part_is_read(client, uploads):
    rng = random.Random(1)
    for upload, digit in uploads:
        for way, text in texts(upload, rng).items():
            if way != "Python bytes":
                answer = post(client, "/predict", part("file", text.encode()))
                assert answer.json().get("digit") == digit, (way, answer.text)
    fields = part("label", b"7") + part("file", texts(uploads[0][0], rng)["data URL"].encode())
    assert post(client, "/feedback", fields).json()["label"] == 7


def test_damaged_text_in_a_batch_leaves_the_others(client, uploads):
    (seven, digit), *_ = uploads
    url = b"data:image/png;base64," + base64.b64encode(seven)
    parts = [url, url[:-40] + b"???", seven, b"data:image/png,x"]
    body = b"".join(part("files", content) for content in parts)
    answers = post(client, "/predict/batch", body).json()["predictions"]
    assert [answer.get("digit") for answer in answers] == [digit, None, digit, None]
    for answer in (answers[1], answers[3]):
        assert "it is a data: URL that is damaged" in answer["error"]["detail"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_json_with_a_byte_order_mark_is_read_on_every_route(client, uploads, encoding):
    mark = {"utf-16-le": "\ufeff", "utf-16-be": "\ufeff"}.get(encoding, "")
    text = base64.b64encode(uploads[0][0]).decode()
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [text]}

    def post_json(path, payload):
        body = (mark + json.dumps(payload)).encode(encoding)
        return client.post(path, content=body, headers={"content-type": "application/json"})

    digit = uploads[0][1]
    assert post_json("/predict", {"image": text}).json()["digit"] == digit
    assert post_json("/invocations", {"image": text}).json()["digit"] == digit
    answer = post_json("/v1/models/mynet:predict", {"instances": [text]}).json()
    assert answer["predictions"][0]["digit"] == digit
    outputs = post_json("/v2/models/mynet/infer", {"inputs": [tensor]}).json()["outputs"]
    assert outputs[0]["data"] == [digit]
    for path in ("/train", "/sweeps"):
        assert post_json(path, {"epochs": 0}).json()["errors"][0]["field"] == "epochs"


def test_mark_of_utf_16_before_other_bytes_is_refused_in_words(client):
    headers = {"content-type": "application/json"}
    answer = client.post("/train", content=b"\xff\xfe\x00\xd8a", headers=headers)
    assert answer.status_code == 400 and "Send JSON in UTF-8" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("https://example.com/7.png", "image is the URL 'https://example.com/7.png'"),
        ("blob:https://example.com/1", "does not fetch"),
        ("data:image/svg+xml,%3Csvg", "is a data: URL without `;base64`"),
        ("seven.png", "is not base64; send base64"),
        ("iVBORw0%ZZ", "is not base64"),
        ("iVBORw0%", "is not base64"),
    ],
)
def test_text_that_is_no_image_is_refused_in_words(client, text, message):
    answer = client.post("/predict", json={"image": text})
    assert answer.status_code == 422 and message in answer.json()["detail"]


@pytest.mark.parametrize("label", ["text/plain", "application/octet-stream", None])
def test_json_without_an_image_is_refused_as_json(client, label):
    for body, message in (
        (b'{"instances": []}', "image: Field required"),
        (b"[[0, 255]]", "not a valid JSON object"),
        (b'{"image": ', "not a valid JSON object"),
    ):
        assert message in post(client, "/predict", body, label).json()["detail"]
