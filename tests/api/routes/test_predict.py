import base64
import json
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from app.torch_net import MyNet, weights_of
from tests.conftest import png

pytestmark = pytest.mark.read_only

PNG = "image/png"
PREDICTION = {
    "id",
    "digit",
    "confidence",
    "probabilities",
    "is_digit",
    "reason",
    "count",
    "version",
}


def data_url(upload):
    return "data:image/png;base64," + base64.b64encode(upload).decode()


def forms(upload):
    """All the ways in which clients send one image."""
    text = base64.b64encode(upload).decode()
    url_safe = base64.urlsafe_b64encode(upload).decode().rstrip("=")
    wrapped = "\n".join(text[start : start + 76] for start in range(0, len(text), 76))
    return {
        "multipart": {"files": {"file": ("seven.png", upload, PNG)}},
        "multipart without a type": {"files": {"file": ("seven.bin", upload)}},
        "image": {"content": upload, "headers": {"content-type": PNG}},
        "octet-stream": {
            "content": upload,
            "headers": {"content-type": "application/octet-stream"},
        },
        "no type": {"content": upload},
        "curl's default": {
            "content": upload,
            "headers": {"content-type": "application/x-www-form-urlencoded"},
        },
        "base64": {"json": {"image": text}},
        "base64 wrapped": {"json": {"image": wrapped}},
        "base64 for URLs": {"json": {"image": url_safe}},
        "data URL": {"json": {"image": data_url(upload)}},
        "JSON with a charset": {
            "content": json.dumps({"image": text}),
            "headers": {"content-type": "Application/JSON; charset=utf-8"},
        },
    }


@pytest.mark.parametrize("form", forms(b""))
def test_every_form_of_body_is_read(client, seven, form):
    answer = client.post("/predict", **forms(seven)[form])
    assert answer.status_code == 200, answer.text
    assert answer.json()["digit"] == 7


def test_the_answer_is_the_contracts(client, seven):
    body = client.post("/predict", content=seven).json()
    assert set(body) == PREDICTION
    assert body["confidence"] == body["probabilities"][7] == max(body["probabilities"])
    assert sum(body["probabilities"]) == pytest.approx(1)
    assert (body["is_digit"], body["version"]) == (True, 1)
    assert (body["reason"], body["count"]) == (None, 1)
    assert body["id"] != client.post("/predict", content=seven).json()["id"]


def test_explain_shows_what_the_network_saw(client, mnist):
    pixels = mnist.test.pixels[0].numpy()
    large = Image.fromarray(255 - pixels).resize((280, 280), Image.Resampling.NEAREST)
    buffer = BytesIO()
    large.save(buffer, "PNG")
    body = client.post("/predict?explain=true", content=buffer.getvalue()).json()
    assert set(body) == PREDICTION | {"seen", "saliency", "normalisation", "activations"}
    for name in ("seen", "saliency"):
        image = Image.open(BytesIO(base64.b64decode(body[name].split(",")[1])))
        assert (image.size, image.mode) == ((28, 28), "L")
    assert body["normalisation"]["inverted"] is True
    left, top, right, bottom = body["normalisation"]["box"]
    rows, columns = (np.flatnonzero(pixels.any(axis=axis)) * 10 for axis in (1, 0))
    expected = [columns[0], rows[0], columns[-1] + 10, rows[-1] + 10]
    assert [left, top, right, bottom] == pytest.approx(expected, abs=15)


def test_explain_has_the_activations_as_bytes(client, seven, mnist):
    layers = client.post("/predict?explain=true", content=seven).json()["activations"]
    assert [layer["layer"] for layer in layers] == ["fc1", "fc2", "fc3"]
    network = client.app_state["services"].live.model.network
    activations = network.activations(mnist.test.pixels[0].numpy())
    for layer, expected in zip(layers, activations, strict=True):
        values, maximum = np.array(layer["values"]), layer["maximum"]
        assert (values.min(), values.max()) == (0, 255)
        assert values / 255 * maximum == pytest.approx(expected, abs=maximum / 500)


def test_the_box_is_in_the_uploads_own_pixels(client, mnist):
    pixels = np.kron(mnist.test.pixels[0].numpy(), np.ones((100, 100), np.uint8))
    body = client.post("/predict?explain=true", content=png(pixels)).json()
    _, top, _, bottom = body["normalisation"]["box"]
    assert 1500 < bottom - top < 2300
    assert bottom <= 2800


@pytest.mark.read_only(False)
def test_a_version_can_be_asked(client, seven, settings):
    from app.versions.registry import Registry

    registry = Registry(settings.models_dir)
    other = registry.save(weights_of(MyNet()), registry.card(1))
    assert client.post(f"/predict?version={other}", content=seven).json()["version"] == other
    assert client.post("/predict", content=seven).json()["version"] == 1
    missing = client.post("/predict?version=99", content=seven)
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")


def test_a_batch_keeps_its_order_and_its_bad_images_to_themselves(client, mnist):
    uploads = [png(pixels.numpy()) for pixels in mnist.test.pixels[:5]]
    uploads.insert(2, b"no image")
    files = [("files", (f"{n}.png", upload, PNG)) for n, upload in enumerate(uploads)]
    body = client.post("/predict/batch", files=files).json()
    assert body["version"] == 1
    error = body["predictions"].pop(2)["error"]
    assert (error["status"], error["code"]) == (415, "not_an_image")
    digits = [prediction["digit"] for prediction in body["predictions"]]
    assert digits == mnist.test.labels[:5].tolist()


def assert_error(answer, status, code, field=None):
    body = answer.json()
    assert (answer.status_code, body["code"], body["status"]) == (status, code, status), body
    assert answer.headers["content-type"] == "application/problem+json"
    assert body["detail"]
    if field:
        assert [error["field"] for error in body["errors"]] == [field]
    return body


def test_what_is_no_image_is_refused(client, seven):
    for upload in (b"", b"hello", seven[:60], b"GIF89a"):
        assert_error(client.post("/predict", content=upload), 415, "not_an_image")


def test_a_blank_image_is_refused(client):
    blank = png(np.full((100, 100), 255, np.uint8))
    assert_error(client.post("/predict", content=blank), 422, "blank_image")


def test_a_form_without_the_field_says_what_it_had(client, seven):
    answer = client.post("/predict", files={"image": ("a.png", seven, PNG)})
    assert "image" in assert_error(answer, 422, "invalid_field", "file")["detail"]


def test_field_with_the_name_of_a_file_instead_of_the_file_says_so(client):
    for name in ("seven.png", "@seven.png", "C:\\images\\seven.jpg", "/tmp/seven.jpeg"):
        answer = client.post("/predict", files={"file": (None, name)})
        detail = assert_error(answer, 415, "not_an_image")["detail"]
        assert "it is a file's name" in detail and "-F file=@" in detail


def test_a_batch_that_is_cut_off_is_refused_whole(client, seven):
    part = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n'
    whole = part + seven + b"\r\n" + part + seven + b"\r\n--x--\r\n"
    form = {"content-type": "multipart/form-data; boundary=x"}
    answer = client.post("/predict/batch", content=whole, headers=form)
    assert len(answer.json()["predictions"]) == 2
    assert_error(
        client.post("/predict/batch", content=whole[:-30], headers=form), 400, "malformed_request"
    )


def test_two_images_belong_to_the_batch(client, seven):
    files = [("file", ("a.png", seven, PNG)), ("file", ("b.png", seven, PNG))]
    assert_error(client.post("/predict", files=files), 422, "invalid_field", "file")


@pytest.mark.parametrize(
    ("content_type", "body", "status", "code"),
    [
        ("multipart/form-data", b"x", 400, "malformed_request"),
        ("multipart/form-data; boundary=x", b"no boundary in here", 400, "malformed_request"),
        ("multipart/form-data; boundary=x", b"--x\r\nContent-Disp", 400, "malformed_request"),
        ("application/json", b'{"image": ', 400, "malformed_request"),
        ("application/json", b"[1]", 400, "malformed_request"),
        ("application/json", b"\xff\xfe", 400, "malformed_request"),
        ("application/json", b"{}", 422, "invalid_field"),
        ("application/json", b'{"image": 7}', 422, "invalid_field"),
        ("application/json", b'{"image": "%%%"}', 422, "invalid_field"),
        ("application/json", b'{"image": "data:image/png,abc"}', 422, "invalid_field"),
        ("application/json", b'{"imgae": ""}', 422, "invalid_field"),
        ("application/json", b'{"image": "aGVsbG8="}', 415, "not_an_image"),
    ],
)
def test_bodies_that_cannot_be_read_are_refused(client, content_type, body, status, code):
    answer = client.post("/predict", content=body, headers={"content-type": content_type})
    assert_error(answer, status, code)


@pytest.mark.parametrize("query", ["version=0", "version=x", "explain=perhaps"])
def test_bad_queries_are_refused(client, seven, query):
    assert_error(
        client.post(f"/predict?{query}", content=seven), 422, "invalid_field", query.split("=")[0]
    )


def test_a_batch_must_be_a_form_and_not_too_large(client, seven, settings):
    assert_error(client.post("/predict/batch", content=seven), 400, "malformed_request")
    files = [("files", ("a.png", seven, PNG))] * (settings.max_batch_files + 1)
    assert_error(client.post("/predict/batch", files=files), 422, "invalid_field", "files")
