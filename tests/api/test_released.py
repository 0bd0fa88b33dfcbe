"""Memory of refused requests: all of it is free without a run of the garbage collector.

The garbage collector reaches old objects late. An object that it alone can free, such as an
exception that a frame of its own traceback holds, occupies memory until then.
"""

import base64
import gc
import json
import logging
import struct
import sys
import weakref
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from app.config.settings import Settings
from app.errors import QueueFull, ServiceError
from app.main import create_app
from app.predict.image_decoders import ImageDecoders
from app.predict.queues.admission import Admission
from tests.api.protocols.test_open_inference import HEADER, INFER
from tests.api.routes.test_predict_fast_path import FORM, form
from tests.conftest import DATA, png
from tests.served import serve_app
from tests.service.running import wait_until

LARGE_SIDE = 1200
LARGE_DECODED_BYTES = 16 * LARGE_SIDE**2  # bytes that WebP's decoder takes of it


def blank(side, form="WEBP"):
    return png(np.zeros((side, side), np.uint8), form)


BLANK, LARGE = blank(400), blank(LARGE_SIDE)
REJECTED_UPLOADS = ((BLANK, 422), (blank(400, "PNG")[:-100], 415))
REPEATS, BATCH_SIZE, RELEASE_TIMEOUT = 2, 4, 120


def raw(path):
    return lambda client, upload: client.post(path, content=upload)


def multipart(client, upload):
    return client.post("/predict", content=form(upload), headers=FORM)


def as_json(client, upload):
    return client.post("/predict", json={"image": base64.b64encode(upload).decode()})


def batch(client, upload):
    return client.post("/predict/batch", files=[("files", upload)] * BATCH_SIZE)


def v1(images):
    def post(client, upload):
        instances = [base64.b64encode(upload).decode()] * images
        return client.post("/v1/models/mynet:predict", json={"instances": instances})

    return post


def v2(images, path=INFER):
    def post(client, upload):
        data = [base64.b64encode(upload).decode()] * images
        tensor = {"name": "image", "shape": [images], "datatype": "BYTES", "data": data}
        return client.post(path, json={"inputs": [tensor]})

    return post


def v2_binary(client, upload):
    content = struct.pack("<I", len(upload)) + upload
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES"}
    tensor["parameters"] = {"binary_data_size": len(content)}
    head = json.dumps({"inputs": [tensor]}).encode()
    return client.post(INFER, content=head + content, headers={HEADER: str(len(head))})


def feedback(client, upload):
    return client.post("/feedback", files={"file": upload}, data={"label": "7"})


WAYS = {
    "short_way": raw("/predict"),
    "short_way_multipart": multipart,
    "json": as_json,
    "route": raw("/predict?explain=false"),
    "explain": raw("/predict?explain=true"),
    "version": raw("/predict?version=1"),
    "batch": batch,
    "v1": v1(1),
    "v1_batch": v1(BATCH_SIZE),
    "v2": v2(1),
    "v2_batch": v2(BATCH_SIZE),
    "v2_version": v2(1, "/v2/models/mynet/versions/1/infer"),
    "v2_binary": v2_binary,
    "invocations": raw("/invocations"),
    "feedback": feedback,
}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    settings = Settings(
        state_dir=tmp_path_factory.mktemp("released") / "var",
        data_dir=DATA,
        device="cpu",
        log_level="error",
        predict_timeout=120,
    )
    with serve_app(create_app(settings)) as client:
        yield client


@contextmanager
def no_collector():
    """Run without the garbage collector, and without pytest's records of what was logged."""
    gc.collect()
    gc.disable()
    logging.disable()
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        gc.enable()


@pytest.fixture
def live_refusals(monkeypatch):
    """Return a function that counts the refusals that were made, for as long as they live."""
    references, refuse = [], ServiceError.__init__

    def init_and_track(refusal, *arguments, **options):
        refuse(refusal, *arguments, **options)
        references.append(weakref.ref(refusal))

    monkeypatch.setattr(ServiceError, "__init__", init_and_track)
    return lambda: sum(reference() is not None for reference in references)


def resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def status(answer):
    """The status of an answer, or of the errors in that for a batch."""
    body = answer.json()
    if answer.status_code != 200:
        return answer.status_code
    (code,) = {prediction["error"]["status"] for prediction in body["predictions"]}
    return code


def busy(_admission, _remaining):
    return QueueFull("No decoder is free.", retry_after=1)


async def fail(*_arguments):
    raise ZeroDivisionError


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_refused_image_is_released_without_the_collector(service, live_refusals, monkeypatch, way):
    with no_collector():
        for upload, expected in REJECTED_UPLOADS * REPEATS:
            assert status(way(service, upload)) == expected
        assert wait_until(lambda: not live_refusals(), RELEASE_TIMEOUT), "unreadable images"
        with monkeypatch.context() as patch:
            patch.setattr(Admission, "check_capacity", busy)
            assert status(way(service, BLANK)) == 429
            service.get("/health/live")  # a connection keeps its last request
            assert wait_until(lambda: not live_refusals(), RELEASE_TIMEOUT), (
                "images that the full queue refuses"
            )
        for operation in ("read_digit", "read_grey"):
            monkeypatch.setattr(ImageDecoders, operation, fail)
        assert status(way(service, BLANK)) == 500
        assert wait_until(lambda: not live_refusals(), RELEASE_TIMEOUT), "images that show a defect"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is of Linux alone")
def test_refused_images_by_every_way_leave_resident_memory_where_it_was(service):
    for way in WAYS.values():
        way(service, LARGE)
    with no_collector():
        before = resident()
        for way in WAYS.values():
            assert status(way(service, LARGE)) == 422
        assert resident() - before < 2 * LARGE_DECODED_BYTES
