"""`/feedback`: what is kept, listed, given and forgotten, and what is refused."""

from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from app.main import create_app
from app.predict.local import preprocess
from tests.conftest import ROOT, png

SEVEN = ROOT / "docs/images/seven.jpg"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


@pytest.fixture
def settings(settings):
    sizes = {"max_pixels": 2_000_000, "max_body_bytes": 2_000_000, "predict_timeout": 60.0}
    return settings.model_copy(update=sizes)


@pytest.fixture
def send(client):
    def send(image, label, query="", **fields):
        data = {"label": label, **fields}
        return client.post(f"/feedback{query}", files={"file": ("x", image)}, data=data)

    return send


def listed(client):
    return [
        (correction["id"], correction["label"])
        for correction in client.get("/feedback").json()["data"]
    ]


def assert_error(answer, status, code):
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    return answer.json()["detail"]


def test_a_correction_is_kept_once(client, send, seven):
    first = send(seven, 7, prediction_id="9c1185a5c5e9fc54")
    assert first.status_code == 201
    correction = first.json()
    assert (correction["label"], correction["prediction_id"]) == (7, "9c1185a5c5e9fc54")
    assert correction["created_at"].endswith("Z")
    assert first.headers["location"] == f"/feedback/{correction['id']}/image"
    again = send(seven, 7)
    assert (again.status_code, again.json()) == (200, correction)
    assert client.get("/feedback").json() == {"data": [correction], "has_more": False}


def test_the_same_picture_in_another_format_is_the_same(send, digits):
    assert send(png(digits[0]), 7).status_code == 201
    assert send(png(digits[0], "BMP"), 7).status_code == 200


def test_another_label_is_refused_unless_it_replaces(client, send, digits):
    first, second = send(png(digits[0]), 1), send(png(digits[1]), 2)
    detail = assert_error(send(png(digits[0]), 7), 409, "conflict")
    assert "has the label 1" in detail and "?replace=true to change it to 7" in detail
    replaced = send(png(digits[0]), 7, "?replace=true", prediction_id="new")
    assert (replaced.status_code, replaced.json()["label"]) == (200, 7)
    assert replaced.json()["prediction_id"] == "new"
    assert listed(client) == [(first.json()["id"], 7), (second.json()["id"], 2)]
    assert send(png(digits[0]), 7, "?replace=true").status_code == 200
    assert send(png(digits[2]), 1, "?replace=true").status_code == 201


def no_digit(client, image, query="", **fields):
    data = {"is_digit": "false", **fields}
    return client.post(f"/feedback{query}", files={"file": ("x", image)}, data=data)


def test_an_image_may_show_no_digit(client, send, digits):
    answer = no_digit(client, png(digits[0]), prediction_id="some-id")
    correction = answer.json()
    assert (answer.status_code, correction["label"], correction["is_digit"]) == (201, None, False)
    assert correction["prediction_id"] == "some-id"
    assert no_digit(client, png(digits[0])).json() == correction
    assert client.get("/feedback").json()["data"] == [correction]
    image = client.get(answer.headers["location"])
    name = f"not_a_digit-{correction['id']}.png"
    assert image.headers["content-disposition"] == f'attachment; filename="{name}"'
    detail = assert_error(send(png(digits[0]), 7), 409, "conflict")
    assert "is stored as no digit already" in detail
    changed = send(png(digits[0]), 7, "?replace=true").json()
    assert (changed["id"], changed["label"], changed["is_digit"]) == (correction["id"], 7, True)
    detail = assert_error(no_digit(client, png(digits[0])), 409, "conflict")
    assert "has the label 7 already" in detail and "to change it to no digit" in detail
    assert no_digit(client, png(digits[0]), "?replace=true").json()["label"] is None


@pytest.mark.read_only
@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({}, "label", "Field required, or is_digit=false"),
        ({"is_digit": "true"}, "label", "Field required, or is_digit=false"),
        ({"is_digit": "false", "label": "7"}, "label", "was sent with is_digit=false"),
        ({"is_digit": "maybe"}, "is_digit", "Input should be a valid boolean"),
        ({"is_digit": "", "label": "7"}, "is_digit", "Input should be a valid boolean"),
    ],
)
def test_a_correction_says_one_thing(client, seven, fields, field, message):
    answer = client.post("/feedback", files={"file": ("x", seven)}, data=fields)
    assert_error(answer, 422, "invalid_field")
    (error,) = answer.json()["errors"]
    assert error["field"] == field and error["message"].startswith(message)


def test_a_digit_may_be_said_twice(send, seven):
    assert send(seven, 7, is_digit="true").status_code == 201


def test_pages_are_like_those_of_jobs(client, send, digits):
    ids = [send(png(digit), 1).json()["id"] for digit in digits][::-1]
    first = client.get("/feedback?limit=3").json()
    assert ([correction["id"] for correction in first["data"]], first["has_more"]) == (
        ids[:3],
        True,
    )
    rest = client.get(f"/feedback?limit=3&after={ids[2]}").json()
    assert ([correction["id"] for correction in rest["data"]], rest["has_more"]) == (ids[3:], False)
    assert client.get(f"/feedback?after={ids[3]}").json() == {"data": [], "has_more": False}
    assert "after" not in assert_error(client.get("/feedback?after=none"), 404, "not_found")
    for limit in (0, 1001, "x"):
        assert "limit" in assert_error(client.get(f"/feedback?limit={limit}"), 422, "invalid_field")


@pytest.mark.parametrize("photo", [True, False])
def test_the_image_is_a_png_of_what_was_decoded(client, send, seven, photo):
    upload = SEVEN.read_bytes() if photo else seven
    answer = client.get(send(upload, 7).headers["location"])
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-disposition"].startswith('attachment; filename="7-')
    returned_image, uploaded_image = (
        preprocess(answer.content, 50_000_000),
        preprocess(upload, 50_000_000),
    )
    assert np.array_equal(returned_image.normalised.pixels, uploaded_image.normalised.pixels)
    assert send(answer.content, 7).status_code == 200


def test_nothing_of_the_file_but_the_picture_is_kept(client, send, digits):
    buffer = BytesIO()
    Image.fromarray(digits[0]).save(buffer, "JPEG", comment=SVG, quality=95)
    answer = client.get(send(buffer.getvalue() + SVG, 7).headers["location"])
    assert answer.content.startswith(b"\x89PNG") and b"<svg" not in answer.content


def test_a_correction_is_forgotten(client, send, seven, settings):
    location = send(seven, 7).headers["location"]
    path = location.removesuffix("/image")
    answer = client.delete(path)
    assert (answer.status_code, answer.content) == (204, b"")
    assert listed(client) == [] and list(settings.feedback_dir.glob("*.png")) == []
    assert "GET /feedback lists all" in assert_error(client.delete(path), 404, "not_found")
    assert_error(client.get(location), 404, "not_found")
    assert send(seven, 7).status_code == 201


@pytest.mark.parametrize("bad_id", ["x", "..%2f..%2fmynet.db", "*", "[0-9a-f]*", "%00"])
def test_ids_are_no_paths(client, send, seven, bad_id):
    send(seven, 7)
    assert_error(client.get(f"/feedback/{bad_id}/image"), 404, "not_found")
    assert_error(client.delete(f"/feedback/{bad_id}"), 404, "not_found")
    assert len(listed(client)) == 1


@pytest.mark.parametrize(
    ("image", "status", "code"),
    [
        (b"no image", 415, "not_an_image"),
        (b"", 415, "not_an_image"),
        (SVG, 415, "not_an_image"),
        (png(np.zeros((28, 28), np.uint8)), 422, "blank_image"),
        (png(np.zeros((2000, 1500), np.uint8)), 413, "image_too_large"),
        (bytes(2_000_000), 413, "body_too_large"),
    ],
)
def test_only_what_could_be_predicted_is_kept(client, send, settings, image, status, code):
    assert_error(send(image, 7), status, code)
    assert listed(client) == []
    assert [path.name for path in settings.feedback_dir.iterdir()] in ([".lock"], [])


@pytest.mark.read_only
@pytest.mark.parametrize("label", ["10", "-1", "seven", "", "7.5", "null"])
def test_a_label_is_a_digit(send, seven, label):
    assert assert_error(send(seven, label), 422, "invalid_field").startswith(
        "label: Input should be"
    )


@pytest.mark.read_only
@pytest.mark.parametrize("prediction_id", ["x" * 65, "a b", "../x", "é", "a/b"])
def test_a_prediction_id_is_a_name(send, seven, prediction_id):
    detail = assert_error(send(seven, 7, prediction_id=prediction_id), 422, "invalid_field")
    assert detail.startswith("prediction_id: ")


def test_a_prediction_id_may_be_empty(send, seven):
    assert send(seven, 7, prediction_id="").json()["prediction_id"] is None


def test_the_id_of_a_prediction_is_one(client, send, seven):
    prediction_id = client.post("/predict", content=seven).json()["id"]
    assert send(seven, 7, prediction_id=prediction_id).json()["prediction_id"] == prediction_id


@pytest.mark.read_only
@pytest.mark.parametrize(
    ("form", "status", "message"),
    [
        ({"data": {"label": "7"}}, 400, "multipart/form-data"),
        ({"content": b"x"}, 400, "multipart/form-data"),
        ({"files": {"label": (None, "7")}}, 422, "file is missing; the fields sent are: label"),
        ({"files": {"file": ("x", b"x")}}, 422, "label: Field required"),
        ({"files": [("file", ("x", b"x"))] * 2}, 422, "file was sent 2 times"),
        ({"files": [("file", ("x", b"x")), *[("label", (None, "7"))] * 2]}, 422, "more than once"),
    ],
)
def test_forms_that_say_too_little_or_too_much(client, form, status, message):
    answer = client.post("/feedback", **form)
    assert answer.status_code == status
    assert message in answer.json()["detail"]


def test_fields_that_nobody_knows_are_passed_over(send, seven):
    assert send(seven, 7, submit="Send", other="x").status_code == 201


def test_parallel_uploads_of_one_image_make_one_correction(client, send, seven):
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda _: send(seven, 7), range(16)))
    assert sorted(answer.status_code for answer in answers) == [200] * 15 + [201]
    assert len({answer.text for answer in answers}) == len(listed(client)) == 1


def test_more_than_may_be_kept_are_refused(settings, digits):
    few = settings.model_copy(update={"max_feedback": 2})
    with TestClient(create_app(few)) as client:

        def send(image, query=""):
            files = {"file": ("x", png(image))}
            return client.post(f"/feedback{query}", files=files, data={"label": "1"})

        assert [send(digits[0]).status_code, send(digits[1]).status_code] == [201, 201]
        detail = assert_error(send(digits[2]), 409, "conflict")
        assert "MYNET_MAX_FEEDBACK=2 is reached: 2 corrections" in detail
        assert_error(send(digits[2], "?replace=true"), 409, "conflict")
        assert send(digits[0]).status_code == 200
        client.delete(f"/feedback/{send(digits[0]).json()['id']}")
        assert send(digits[2]).status_code == 201
