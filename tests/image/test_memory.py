"""What images take while they are read: lies nothing, and honest ones so much for each pixel."""

import sys
from contextlib import suppress
from io import BytesIO
from multiprocessing import Pipe, get_context
from pathlib import Path

import pytest
from PIL import Image

from app.errors import ServiceError
from app.image.decode import memory_bytes, open_image
from app.predict.local import preprocess
from tests.image.test_bombs import FALSE_HEADERS, MAX_PIXELS, TOO_LARGE

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the peak can be reset on Linux alone"
)
SIDE = 3000
# Most coefficients of this drawing are zeros in pages that nothing touches.
PROGRESSIVE_SIDE = 5000
WARM_UP_SIDE = 200
MARGIN = 16 * 2**20
FORMS = [
    *[(mode, "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")],
    *[(mode, "TIFF") for mode in ("F", "I", "LAB", "CMYK", "YCbCr")],
    *[
        ("CMYK", "JPEG"),
        ("RGB", "progressive JPEG"),
        ("P", "GIF"),
        ("RGBA", "WEBP"),
        ("RGB", "AVIF"),
    ],
    *[("RGB", "HEIF"), ("RGB", "JPEG2000"), ("RGB", "WEBP")],
]
# What quick encoders write takes as much to decode.
FAST_OPTIONS = {"WEBP": {"method": 0}, "AVIF": {"speed": 10}, "PNG": {"compress_level": 1}}
OPTIONS = FAST_OPTIONS | {"progressive JPEG": {"progressive": True, "subsampling": 0}}


def peak():
    """The most memory that was resident, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def preprocess_all(warm_up, uploads, connection):
    for upload in warm_up:  # what a library takes once is in no estimate
        preprocess(upload, MAX_PIXELS)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    peak_before, count = peak(), 0
    for upload in uploads:
        with suppress(ServiceError):
            preprocess(upload, MAX_PIXELS)
            count += 1
    connection.send((count, peak() - peak_before))


def measure_memory(*uploads, warm_up=()):
    """See them in a process of its own; give how many were read, and the bytes that it took."""
    receiver, sender = Pipe()
    process = get_context("fork").Process(target=preprocess_all, args=(warm_up, uploads, sender))
    process.start()
    sender.close()
    result = receiver.recv()
    process.join()
    receiver.close()
    return result


def test_lies_take_no_memory():
    """None of them has a pixel; what they say that they have is up to an exabyte."""
    count, peak_bytes = measure_memory(*TOO_LARGE.values(), *FALSE_HEADERS.values())
    assert count == 0
    assert peak_bytes < 64 * 2**20


def image_file(mode, form, side):
    image = Image.new(mode, (side, side))
    left, top, right, bottom = (side * part // 30 for part in (13, 4, 15, 26))
    ink = 65535 if mode == "I;16" else 1 if mode == "P" else "white"
    image.paste(Image.new(mode, (right - left, bottom - top), ink), (left, top, right, bottom))
    buffer, more = BytesIO(), {"transparency": 0} if mode == "P" else {}
    image.save(buffer, form.split()[-1], **more, **OPTIONS.get(form, {}))
    return buffer.getvalue()


@pytest.mark.parametrize(("mode", "form"), FORMS)
def test_honest_images_take_what_is_estimated_from_their_headers(mode, form):
    side = PROGRESSIVE_SIDE if form.startswith("progressive") else SIDE
    content = image_file(mode, form, side)
    warm_up = [image_file(mode, form, WARM_UP_SIDE)]
    estimate = memory_bytes(open_image(content, MAX_PIXELS))
    # On a busy machine one buffer is sometimes freed late.
    measurements = [measure_memory(content, warm_up=warm_up) for _ in range(2)]
    assert [count for count, _ in measurements] == [1, 1]
    assert min(peak for _, peak in measurements) < estimate + MARGIN
