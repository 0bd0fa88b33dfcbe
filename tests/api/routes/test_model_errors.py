import base64
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from app.main import create_app

pytestmark = pytest.mark.read_only


def test_the_images_behind_a_cell_are_shown(client, mnist):
    body = client.get("/models/1/errors?digit=4&answer=9").json()
    confusion = client.get("/models/1").json()["confusion"]
    assert (len(body["data"]), body["has_more"]) == (confusion[4][9], False)
    for error in body["data"]:
        assert set(error) == {"index", "digit", "answer", "confidence", "image"}
        assert (error["digit"], error["answer"]) == (4, 9)
        assert 0.1 < error["confidence"] <= 1
        head, _, encoded = error["image"].partition(",")
        assert head == "data:image/png;base64"
        pixels = np.asarray(Image.open(BytesIO(base64.b64decode(encoded))))
        assert np.array_equal(pixels, mnist.test.pixels[error["index"]].numpy())


def test_pages_are_asked_for_by_the_last_index_seen(client):
    confusion = np.array(client.get("/models/1").json()["confusion"])
    wrong, right = confusion.sum() - np.trace(confusion), confusion[1][1]
    first = client.get("/models/1/errors").json()
    assert (len(first["data"]), first["has_more"]) == (100, True)
    rest = client.get(f"/models/1/errors?after={first['data'][-1]['index']}&limit=1000").json()
    assert (len(rest["data"]), rest["has_more"]) == (wrong - 100, False)
    diagonal = client.get("/models/1/errors?digit=1&answer=1&limit=1000").json()
    assert (len(diagonal["data"]), diagonal["has_more"]) == (1000, right > 1000)


def test_the_first_image_comes_after_none_and_not_after_0(client):
    path = "/models/1/errors?digit=7&answer=7&limit=1"
    assert client.get(path).json()["data"][0]["index"] == 0
    assert client.get(f"{path}&after=0").json()["data"][0]["index"] > 0


@pytest.mark.parametrize(
    ("path", "status", "field"),
    [
        ("/models/77/errors", 404, None),
        ("/models/1/errors?digit=10", 422, "digit"),
        ("/models/1/errors?answer=-1", 422, "answer"),
        ("/models/1/errors?limit=0", 422, "limit"),
        ("/models/1/errors?limit=1001", 422, "limit"),
        ("/models/1/errors?after=x", 422, "after"),
    ],
)
def test_what_is_not_there_is_refused(client, path, status, field):
    answer = client.get(path)
    assert answer.status_code == status
    assert [error["field"] for error in answer.json().get("errors", [])] == [field] * bool(field)


def test_without_mnist_it_says_when_it_comes(settings, tmp_path):
    nowhere = settings.model_copy(update={"data_dir": tmp_path})
    with TestClient(create_app(nowhere)) as client:
        answer = client.get("/models/1/errors")
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    assert "first training" in answer.json()["detail"]
