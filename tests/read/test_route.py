"""`POST /read`: the three forms of body, its answer, and its refusals."""

import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tests.image.drawings import Sheet

pytestmark = pytest.mark.read_only

READING = {"id", "text", "lines", "version"}


def png(grey):
    buffer = BytesIO()
    Image.fromarray(grey).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def two_lines():
    sheet = Sheet(4, 420, 420)
    for digit, x, y in ((7, 120, 110), (1, 290, 115), (0, 120, 300), (4, 290, 305)):
        sheet.digit(digit, x, y, 110)
    return png(sheet.grey())


def forms(image):
    text = base64.b64encode(image).decode()
    return [
        {"content": image},
        {"files": {"file": ("image.png", image)}},
        {"json": {"image": text}},
        {"json": {"image": f"data:image/png;base64,{text}"}},
    ]


@pytest.mark.parametrize("form", range(4))
def test_all_digits_are_read_in_every_form_of_body(client, two_lines, form):
    response = client.post("/read", **forms(two_lines)[form])
    assert response.status_code == 200, response.text
    body = response.json()
    assert set(body) == READING
    assert body["text"] == "\n".join(line["text"] for line in body["lines"])
    assert [len(line["digits"]) for line in body["lines"]] == [2, 2]
    for line in body["lines"]:
        assert line["text"] == "".join(str(digit["digit"]) for digit in line["digits"])


def test_boxes_are_in_pixels_of_the_upload(client):
    sheet = Sheet(3, 1200, 2400)
    sheet.pen = 60
    drawn = [sheet.digit(digit, x, 600, 600) for digit, x in ((7, 700), (0, 1700))]
    (line,) = client.post("/read", content=png(sheet.grey())).json()["lines"]
    boxes = np.array([digit["box"] for digit in line["digits"]])
    assert np.abs(boxes - np.array(drawn)).max() <= 12


def test_version_is_the_one_that_was_asked_for(client, two_lines):
    assert client.post("/read?version=1", content=two_lines).json()["version"] == 1
    assert client.post("/read?version=99", content=two_lines).json()["code"] == "not_found"


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"not an image", 415, "not_an_image"),
        (png(np.full((200, 200), 240, np.uint8)), 422, "blank_image"),
    ],
)
def test_what_cannot_be_read_is_refused(client, content, status, code):
    response = client.post("/read", content=content)
    assert (response.status_code, response.json()["code"]) == (status, code)


def test_predict_says_that_there_are_several_digits(client, two_lines):
    body = client.post("/predict", content=two_lines).json()
    assert (body["is_digit"], body["reason"], body["count"]) == (False, "several_digits", 4)
