"""Hostile images sent to a service: they take no memory, and hold up no one."""

import json
import os
import struct
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import png
from tests.decoders.pool import children
from tests.image.test_tiff import DEFLATE, FAX, LONG, ROWS, SLONG8, tiled
from tests.service.running import run_service, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
BOUND = 1200 * 10**6
REFUSED = {413, 415, 422, 429, 504}


def webp_animation(side):
    """An animated WebP with a canvas of side x side, and no frame: 94 bytes or fewer."""
    canvas = (side - 1).to_bytes(3, "little") * 2
    body = b"WEBPVP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + canvas
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg_2000(side, components):
    """A JPEG 2000 of side x side without any ink, in 100 bytes: all its packets are empty."""

    def segment(marker, body):
        return struct.pack(">HH", marker, len(body) + 2) + body

    size = (side, side, 0, 0, side, side, 0, 0, components)
    return b"".join(
        (
            b"\xff\x4f",
            segment(0xFF51, struct.pack(">HIIIIIIIIH", 0, *size) + b"\7\1\1" * components),
            segment(0xFF52, b"\0\0\0\1\0\0\4\4\0\1"),  # one layer, one resolution
            segment(0xFF5C, b"\x40\x40"),  # not quantised
            segment(0xFF90, b"\0\0\0\0\0\0\0\1"),  # one tile, to the end
            b"\xff\x93" + bytes(components) + b"\xff\xd9",
        )
    )


def zeros(size):
    packer = zlib.compressobj(9)
    block = packer.compress(bytes(2**20))
    return (
        block + b"".join(packer.compress(bytes(2**20)) for _ in range(size >> 20)) + packer.flush()
    )


UPLOADS = {
    "tile that Pillow does not see": tiled(
        (64, 64), (131072, 100000), ROWS, packing=FAX, kinds=(SLONG8, SLONG8)
    ),
    "tile of a gigabyte": tiled(
        (64, 64), (40000, 25000), zeros(10**9), packing=DEFLATE, kinds=(SLONG8, SLONG8)
    ),
    "tile of 50 megapixels": tiled((64, 64), (7056, 7056), zeros(1), kinds=(LONG, LONG)),
    "canvas of 49 megapixels": webp_animation(7001),
    "blank PNG of 49 megapixels": png(np.zeros((7000, 7000), np.uint8)),
    "blank WebP of 16 megapixels": png(np.zeros((4000, 4000, 3), np.uint8), "WEBP"),
    "JPEG 2000 of 49 megapixels": jpeg_2000(7000, 4),  # it would take 1.2 GB
    "no image": b"no image",
}


def processes(pid):
    yield pid
    for child in children(pid):
        yield from processes(child)


def memory(service):
    """Return the proportional resident bytes of the service with its decoders."""
    total = 0
    for pid in processes(service.process.pid):
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:  # it has ended
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def post(service, upload, path="/predict"):
    with closing(HTTPConnection("127.0.0.1", service.port, timeout=120)) as connection:
        connection.request("POST", path, upload, {"Content-Type": "image/x"})
        response = connection.getresponse()
        return response.status, json.load(response)


@pytest.fixture(scope="module")
def hostile_service(tmp_path_factory):
    state = tmp_path_factory.mktemp("hostile") / "var"
    with run_service(state, auth="predict", decoders=2, predict_timeout=20) as service:
        yield service


class Watch:
    """Watches the memory of a service, and whether it answers, until it is stopped."""

    def __init__(self, service):
        self.service, self.peak, self.is_stopped = service, 0, False
        self.thread = threading.Thread(target=self._run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_stopped = True
        self.thread.join()

    def _run(self):
        while not self.is_stopped:
            assert self.service.get("/health/live") == {"status": "live"}
            self.peak = max(self.peak, memory(self.service))


def test_hostile_images_all_at_once_are_answered_in_words_within_the_bound(hostile_service, seven):
    before = memory(hostile_service)
    uploads = [*UPLOADS.values()] * 3
    with Watch(hostile_service) as watch, ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda upload: post(hostile_service, upload), uploads))
        assert post(hostile_service, seven)[1]["digit"] == 7
    for status, body in answers:
        assert status in REFUSED and body["detail"].endswith("."), body
    assert watch.peak < BOUND
    assert wait_until(lambda: memory(hostile_service) < before + 100 * 10**6), "gives it back"


def test_decoders_killed_at_random_under_load_fail_no_request(hostile_service, digits):
    photo = png(np.kron(digits[0], np.ones((20, 20), np.uint8)), "BMP")
    (template,) = children(hostile_service.process.pid)

    def post_and_kill(number):
        answer = post(hostile_service, photo)
        if number % 10 == 0:  # a killed upload is read again: rarely enough for that one to end
            for pid in children(template)[:1]:
                with suppress(ProcessLookupError):  # another thread has killed it
                    os.kill(pid, 9)
        return answer

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(post_and_kill, range(120)))
    assert {(status, body.get("digit")) for status, body in answers} == {(200, 7)}
