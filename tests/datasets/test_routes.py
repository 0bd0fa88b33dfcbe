"""`/datasets` over HTTP: uploads of every kind, lists, images and deletion."""

import base64
import gzip
import threading
import time
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from app.dataset_import import importer, process
from app.datasets import content
from app.mnist.files import LabelledImages
from app.predict.local import preprocess
from tests.conftest import png
from tests.datasets.conftest import MAX_IMAGES
from tests.datasets.uploads import csv, idx_zip, npz, zip_of


def upload(client, name, body, **fields):
    return client.post("/datasets", files={"file": ("a", body)}, data={"name": name, **fields})


def decoded(image):
    head, _, data = image["image"].partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(BytesIO(base64.b64decode(data))))


def images_of(client, dataset, **params):
    return client.get(f"/datasets/{dataset}/images", params=params).json()["data"]


def test_example_of_the_document_becomes_a_data_set(client):
    form = client.get("/openapi.json").json()["paths"]["/datasets"]["post"]["requestBody"]
    example = form["content"]["multipart/form-data"]["examples"]["csv"]["value"]
    dataset = upload(client, example["name"], example["file"].encode()).json()
    assert (dataset["images"], dataset["labels"]["1"]) == (1, 1)
    assert (dataset["rejected_images"], dataset["suspect_images"]) == (0, 0)
    assert client.delete(f"/datasets/{dataset['id']}").status_code == 204


def test_every_format_becomes_the_same_data_set(client, images):
    pixels, labels = images
    bodies = {
        "idx": idx_zip(pixels, labels),
        "npz": npz(images=pixels, labels=labels),
        "csv": csv(pixels, labels),
    }
    answers = {name: upload(client, name, body) for name, body in bodies.items()}
    for name, answer in answers.items():
        fields = answer.json()
        assert (answer.status_code, fields["name"], fields["images"]) == (201, name, 20)
        assert answer.headers["location"] == f"/datasets/{fields['id']}"
        assert fields["digest"] == content.digest(LabelledImages(pixels, labels))
        assert fields["labels"] == {str(n): int((labels == n).sum()) for n in range(10)}
        assert client.get(answer.headers["location"]).json() == fields
        assert client.get(f"/datasets/{name}").json() == fields
        assert next(map(decoded, images_of(client, name))).tolist() == pixels[0].tolist()


def test_pictures_are_normalised_as_predictions_are(client, digits):
    large = np.kron(255 - np.pad(digits[1], 10), np.ones((6, 6), np.uint8))
    pictures = {
        "a/2/photo.jpg": png(large, "JPEG"),
        "a/7/plain.png": png(digits[0]),
        "a/7/webp": png(digits[0], "WEBP"),
    }
    fields = upload(client, "pictures", zip_of(pictures.items())).json()
    assert fields["labels"]["7"] == 2
    for image, picture in zip(images_of(client, "pictures"), pictures.values(), strict=True):
        expected = preprocess(picture, 50_000_000).normalised.pixels
        assert np.array_equal(decoded(image), expected)


def test_rejected_and_suspect_images_are_listed(client, digits):
    files = [
        ("7/a.png", png(digits[0])),
        ("3/b.png", png(digits[0])),
        ("1/c.png", png(np.zeros((28, 28), np.uint8))),
        ("1/d.png", b"no image"),
        ("1/e.png", png(np.zeros((8000, 8000), np.uint8))),
        ("../1/f.png", png(digits[0])),
    ]
    fields = upload(client, "noisy", zip_of(files)).json()
    assert fields["rejected"] == [
        {"name": "../1/f.png", "code": "unsafe_path"},
        {"name": "1/c.png", "code": "blank_image"},
        {"name": "1/d.png", "code": "not_an_image"},
        {"name": "1/e.png", "code": "image_too_large"},
    ]
    (suspect,) = fields["suspect"]
    assert (suspect["name"], suspect["label"], suspect["digit"]) == ("3/b.png", 3, 7)
    assert suspect["confidence"] >= importer.SUSPECT_CONFIDENCE
    (image,) = images_of(client, "noisy", label=3)
    assert image["id"] == suspect["id"]
    assert (fields["images"], fields["rejected_images"], fields["suspect_images"]) == (2, 4, 1)
    assert fields["version"] == client.get("/models").json()["current"]


@pytest.mark.parametrize("name", ["mnist", "corrections", "0123456789abcdef", "", "a b", "x" * 65])
def test_a_name_that_cannot_be_is_refused(client, images, name):
    answer = upload(client, name, npz(images=images[0], labels=images[1]))
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "name")


def test_a_name_is_unique_and_the_same_upload_is_stored_once(client, images):
    pixels, labels = images
    first = upload(client, "twice", npz(images=pixels, labels=labels))
    again = upload(client, "twice", csv(pixels, labels))
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    other = upload(client, "twice", npz(images=pixels[:5], labels=labels[:5]))
    assert other.status_code == 409
    assert first.json()["id"] in other.json()["detail"]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"no archive", 400, "in no format"),
        (zip_of([("a/readme.txt", b"x")]), 422, "a/readme.txt: invalid_label"),
        (zip_of([("1/a.png", b"x")]), 422, "1/a.png: not_an_image"),
        (zip_of([]), 422, "it has no images"),
        (zip_of([(f"1/{n}", b"x") for n in range(MAX_IMAGES + 1)]), 413, "MAX_DATASET_IMAGES=40"),
        (zip_of([(f"1/{n}", bytes(2**20)) for n in range(5)]), 413, "MAX_DATASET_BYTES"),
        (bytes(2**20), 413, "1048576 bytes"),
    ],
    ids=["text", "no-label", "no-image", "empty", "many", "swells", "large"],
)
def test_what_is_no_data_set_stores_nothing(client, body, status, message):
    before = client.get("/datasets").json()
    answer = upload(client, "refused", body)
    assert (answer.status_code, message in answer.json()["detail"]) == (status, True), answer.text
    assert client.get("/datasets").json() == before


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"data": {"name": "a"}, "files": {"other": b"x"}}, 422),
        ({"files": [("file", b"x"), ("file", b"y")], "data": {"name": "a"}}, 422),
        ({"files": {"file": b"x"}}, 422),
        ({"files": {"file": b"x"}, "data": {"name": "a" * 20_000}}, 400),
        ({"content": b"x"}, 400),
        (
            {
                "content": b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nabc',
                "headers": {"Content-Type": "multipart/form-data; boundary=x"},
            },
            400,
        ),
    ],
    ids=["no-file", "two-files", "no-name", "long-field", "no-form", "cut-off"],
)
def test_a_form_that_is_no_upload_is_refused(client, form, status):
    assert client.post("/datasets", **form).status_code == status


def test_a_body_larger_than_others_may_be_is_spooled_and_decoded(client, images):
    random = np.random.default_rng(1).integers(0, 255, (MAX_IMAGES, 28, 28, 4), np.uint8)
    body = npz(images=random[..., 0], labels=np.zeros(MAX_IMAGES), more=random)
    assert len(body) > client.app_state["services"].settings.max_body_bytes
    answer = upload(client, "large", body)
    assert answer.status_code in (201, 422), answer.text
    request = client.build_request(
        "POST", "/datasets", files={"file": ("a", csv(*images))}, data={"name": "packed"}
    )
    packed = gzip.compress(request.read())
    headers = {"Content-Type": request.headers["content-type"], "Content-Encoding": "gzip"}
    assert client.post("/datasets", content=packed, headers=headers).status_code == 201


def test_images_are_paged_and_selected_by_label(client, images):
    upload(client, "paged", npz(images=images[0], labels=images[1]))
    path, found = "/datasets/paged/images", []
    page = {"has_more": True, "data": []}
    while page["has_more"]:
        after = page["data"][-1]["id"] if page["data"] else None
        page = client.get(path, params={"limit": 8, **({"after": after} if after else {})}).json()
        found += page["data"]
    assert [image["id"] for image in found] == [str(n) for n in range(20)]
    assert [image["label"] for image in found] == images[1].tolist()
    sevens = images_of(client, "paged", label=7)
    assert [int(image["id"]) for image in sevens] == np.flatnonzero(images[1] == 7).tolist()
    for after in ("20", "x", "-1"):
        assert client.get(path, params={"after": after}).status_code == 404


def test_corrections_may_show_no_digit(client, digits, images):
    for label in (1, 2):
        client.post("/feedback", files={"file": png(digits[label])}, data={"label": label})
    shapeless = client.post("/feedback", files={"file": png(digits[3])}, data={"is_digit": "false"})
    fields = client.get("/datasets/corrections").json()
    assert (fields["images"], fields["non_digits"]) == (3, 1)
    assert sum(fields["labels"].values()) == 2
    (image,) = images_of(client, "corrections", is_digit="false")
    assert image["id"] == shapeless.json()["id"]
    assert (image["label"], image["is_digit"]) == (None, False)
    digits = images_of(client, "corrections", is_digit="true")
    assert [(image["label"], image["is_digit"]) for image in digits] == [(2, True), (1, True)]
    assert images_of(client, "corrections", is_digit="false", label=1) == []
    assert len(images_of(client, "corrections")) == 3
    upload(client, "digits", npz(images=images[0], labels=images[1]))
    assert client.get("/datasets/digits").json()["non_digits"] == 0
    assert images_of(client, "digits", is_digit="false") == []
    assert images_of(client, "digits", is_digit="true") == images_of(client, "digits")
    answer = client.get("/datasets/corrections/images?is_digit=x")
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    for correction in client.get("/feedback").json()["data"]:
        client.delete(f"/feedback/{correction['id']}")
    client.delete("/datasets/digits")


def test_mnist_and_the_corrections_are_data_sets(client, digits, mnist):
    for label in (1, 2):
        client.post("/feedback", files={"file": png(digits[label])}, data={"label": label})
    page = client.get("/datasets", params={"limit": 3}).json()
    assert [dataset["name"] for dataset in page["data"]] == ["mnist", "mnist-test", "corrections"]
    assert [dataset["images"] for dataset in page["data"]] == [60_000, 10_000, 2]
    assert page["data"][2]["labels"]["2"] == 1
    (image,) = images_of(client, "corrections", label=1)
    assert np.array_equal(decoded(image), digits[1])
    assert images_of(client, "corrections", after=image["id"]) == []
    (last,) = images_of(client, "mnist-test", after="9998")
    assert np.array_equal(decoded(last), mnist.test.pixels[9999].numpy())
    for name in ("mnist", "mnist-test", "corrections"):
        assert client.delete(f"/datasets/{name}").status_code == 409


def test_a_deleted_data_set_is_gone_and_its_name_is_free(client, images):
    fields = upload(client, "gone", npz(images=images[0], labels=images[1])).json()
    path = client.app_state["services"].datasets.files.local_path(fields["id"])
    assert path.exists()
    assert client.delete("/datasets/gone").status_code == 204
    assert not path.exists()
    for reference in ("gone", fields["id"]):
        assert client.get(f"/datasets/{reference}").status_code == 404
        assert client.delete(f"/datasets/{reference}").status_code == 404
    assert upload(client, "gone", npz(images=images[0][:3], labels=[1, 2, 3])).status_code == 201


def test_the_list_continues_after_a_data_set(client, images):
    names = [
        upload(client, f"list-{n}", npz(images=images[0], labels=images[1])).json()["name"]
        for n in range(2)
    ]
    everything = [dataset["name"] for dataset in client.get("/datasets").json()["data"]]
    rest = client.get("/datasets", params={"after": names[0]}).json()
    assert [dataset["name"] for dataset in rest["data"]] == everything[everything.index(names[1]) :]
    assert client.get("/datasets", params={"after": "none"}).status_code == 404


@pytest.mark.parametrize(
    ("code", "status", "message"),
    [
        ("import os; os.abort()", 400, "crashed its reader"),
        ("import os; os.kill(os.getpid(), 9)", 503, "the system ended"),
        ("print('x' * 100)", 400, "crashed its reader"),
        ("import sys; sys.stdout.buffer.write(bytes((0, 0, 0, 2, 0, 0, 0, 0)) + b'{}')", 400, ""),
        ("import time; time.sleep(60)", 400, "time or memory limit"),
    ],
    ids=["crash", "killed", "garbage", "no-kind", "endless"],
)
def test_a_process_that_fails_is_no_500(client, images, monkeypatch, code, status, message):
    monkeypatch.setattr(process, "COMMAND", (*process.COMMAND[:1], "-c", code))
    monkeypatch.setattr(process, "FRAME_TIMEOUT", 240 if "sleep" not in code else 0.2)
    answer = upload(client, "crashing", csv(*images))
    assert (answer.status_code, message in answer.json()["detail"]) == (status, True), answer.text


def test_more_uploads_than_are_read_at_a_time_come_again(client, images, monkeypatch, tmp_path):
    monkeypatch.setattr(importer, "MAX_IMPORTS", 1)
    release = tmp_path / "release"
    code = f"import os, time\nwhile not os.path.exists({str(release)!r}): time.sleep(0.01)"
    monkeypatch.setattr(process, "COMMAND", (*process.COMMAND[:1], "-c", code))
    monkeypatch.setattr(process, "FRAME_TIMEOUT", 240)
    first = threading.Thread(target=upload, args=(client, "first", csv(*images)))
    first.start()
    deadline = time.monotonic() + 120
    while not client.app_state["services"].dataset_importer.in_flight:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    answer = upload(client, "second", csv(*images))
    release.touch()
    first.join()
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "30")


def test_no_upload_is_left_on_the_disk(client):
    folder = client.app_state["services"].settings.datasets_dir
    ids = {dataset["id"] for dataset in client.get("/datasets").json()["data"]}
    for path in folder.iterdir():
        assert path.name == ".lock" or path.stem in ids
