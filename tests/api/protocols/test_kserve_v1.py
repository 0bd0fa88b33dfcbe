"""KServe's V1 protocol: instances of every form, and refusals in its form."""

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.read_only

PREDICT = "/v1/models/mynet:predict"


@pytest.fixture(scope="session")
def rows(mnist):
    """The first test image, a seven."""
    return mnist.test.pixels[0].numpy()


def assert_error(answer, status, word):
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error"}
    assert word in answer.json()["error"]


def test_the_model_is_listed_and_ready(client):
    assert client.get("/v1/models").json() == {"models": ["mynet"]}
    assert client.get("/v1/models/mynet").json() == {"name": "mynet", "ready": True}


def test_instances_of_every_form_are_read_together(client, seven, rows):
    text = base64.b64encode(seven).decode()
    url = "data:image/png;base64," + text
    instances = [{"b64": text}, {"b64": url}, text, url, rows.tolist(), rows.ravel().tolist()]
    answer = client.post(PREDICT, json={"instances": instances})
    assert answer.headers["content-type"] == "application/json"
    predictions = answer.json()["predictions"]
    assert [prediction["digit"] for prediction in predictions] == [7] * 6
    for prediction in predictions:
        assert prediction["confidence"] == prediction["probabilities"][7]
        assert (prediction["is_digit"], prediction["version"]) == (True, 1)


def test_pixels_are_given_to_the_network_as_they_are(client, rows):
    """Normalised, dark ink on light would be read as light ink on dark."""
    instances = [rows.tolist(), (255 - rows).tolist()]
    body = client.post(PREDICT, json={"instances": instances}).json()
    plain, inverted = (prediction["probabilities"] for prediction in body["predictions"])
    assert plain[7] > 0.9
    assert plain != inverted


CORNER = [255] + [0] * 783


@pytest.mark.parametrize("pixels", [[0] * 784, [8] * 784, [16] * 784, CORNER, CORNER[::-1]])
def test_pixels_without_ink_are_refused_as_predict_refuses_the_picture(client, rows, pixels):
    response = client.post(PREDICT, json={"instances": [rows.tolist(), pixels]})
    assert response.status_code == 422
    assert response.json()["error"].startswith("instances.1: The image contains no ink")
    picture = np.array(pixels, np.uint8).reshape(28, 28)
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    assert client.post("/predict", content=buffer.getvalue()).json()["code"] == "blank_image"


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        (b"", 400, "JSON"),
        (b"{", 400, "JSON"),
        (b"{}", 400, "instances"),
        (b'{"instances": {}}', 400, "instances"),
        (b'{"instances": []}', 400, "0 instances"),
        (b'{"instances": [7]}', 400, "instances.0"),
        (b'{"instances": [{"b65": ""}]}', 400, "instances.0"),
        (b'{"instances": [{"b64": 7}]}', 400, "instances.0"),
        (b'{"instances": [[1, 2]]}', 400, "[2]"),
        (b'{"instances": [["x"]]}', 400, "numbers"),
        (b'{"instances": [[[0], 1]]}', 400, "[2, 1]"),
        (b'{"instances": [[%b]]}' % b",".join([b'"x"'] * 784), 400, "numbers, in rows"),
        (b'{"instances": [[%b]]}' % b",".join([b"[1,2]"] + [b"[]"] * 27), 400, "[28, 2]"),
        (b'{"instances": ["%%%"]}', 422, "instances.0 is not base64"),
        (b'{"instances": ["aGVsbG8="]}', 415, "not a readable image"),
        (b'{"instances": ["aGVsbG8=", "aGVsbG8="]}', 415, "Image 0"),
    ],
)
def test_what_cannot_be_read_is_refused(client, body, status, word):
    assert_error(client.post(PREDICT, content=body), status, word)


def test_pixels_out_of_range_are_refused(client):
    for wrong in (256, -1, 0.5):
        assert_error(
            client.post(PREDICT, json={"instances": [[wrong] * 784]}), 400, "0 (background)"
        )


def test_masks_and_pixels_divided_twice_are_refused_with_both_ranges(client, mnist):
    for pixels in mnist.test.pixels[:10].numpy():
        images = [(pixels > 100).astype(int), (pixels > 100).astype(float), pixels / 255**2]
        for image, found in zip(
            images, ("from 0 to 1.", "from 0 to 1.", "from 0 to 0.0039"), strict=True
        ):
            for rows in (image.tolist(), image.ravel().tolist()):
                answer = client.post(PREDICT, json={"instances": [pixels.tolist(), rows]})
                assert_error(answer, 400, f"instances.1 has pixels {found}")
                assert "whole numbers from 0 (background) to 255 (ink)" in answer.json()["error"]


def test_too_many_instances_are_refused(client, settings):
    payload = {"instances": [""] * (settings.max_batch_files + 1)}
    assert_error(client.post(PREDICT, json=payload), 400, "257 instances")


@pytest.mark.read_only(False)
def test_what_is_not_there_is_refused_in_this_form(client):
    assert_error(client.get("/v1/models/other"), 404, "/v1/models/other")
    assert_error(client.get(PREDICT), 405, "not allowed")
    client.app_state["services"].draining.set()
    assert_error(client.get("/v1/models/mynet"), 503, "draining")
