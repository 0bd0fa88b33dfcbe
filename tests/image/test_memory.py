"""What images take while they are read: lies nothing, and honest ones so much for each pixel."""

import sys
from contextlib import suppress
from io import BytesIO
from multiprocessing import Pipe, get_context
from pathlib import Path

import pytest
from PIL import Image

from app.errors import ServiceError
from app.predict.preprocess import preprocess
from tests.image.test_bombs import FALSE_HEADERS, MAX_PIXELS, TOO_LARGE

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="the peak can be reset on Linux alone"
)
SIDE = 3000
BYTES_PER_PIXEL = 20  # bytes: WebP's decoder alone takes 16 of them
MARGIN = 16 * 2**20
FORMS = [
    *[(mode, "PNG") for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")],
    *[(mode, "TIFF") for mode in ("F", "I", "LAB", "CMYK", "YCbCr")],
    *[("CMYK", "JPEG"), ("P", "GIF"), ("RGBA", "WEBP"), ("RGB", "AVIF")],
]
# What quick encoders write takes as much to decode.
FAST_OPTIONS = {"WEBP": {"method": 0}, "AVIF": {"speed": 10}, "PNG": {"compress_level": 1}}


def peak():
    """The most memory that was resident, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def preprocess_all(uploads, connection):
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    peak_before, count = peak(), 0
    for upload in uploads:
        with suppress(ServiceError):
            preprocess(upload, MAX_PIXELS)
            count += 1
    connection.send((count, peak() - peak_before))


def measure_memory(*uploads):
    """See them in a process of its own; give how many were read, and the bytes that it took."""
    receiver, sender = Pipe()
    process = get_context("fork").Process(target=preprocess_all, args=(uploads, sender))
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


@pytest.mark.parametrize(("mode", "form"), FORMS)
def test_honest_images_take_so_much_for_each_pixel(mode, form):
    image = Image.new(mode, (SIDE, SIDE))
    stroke = (1300, 400, 1500, 2600)
    if mode == "I;16":
        image.paste(Image.new(mode, (200, 2200), 65535), stroke)
    else:
        image.paste(Image.new(mode, (200, 2200), "white" if mode != "P" else 1), stroke)
    buffer, more = BytesIO(), {"transparency": 0} if mode == "P" else {}
    image.save(buffer, form, **more, **FAST_OPTIONS.get(form, {}))
    # On a busy machine one buffer is sometimes freed late: 22 bytes a pixel once, else 16.9.
    measurements = [measure_memory(buffer.getvalue()) for _ in range(2)]
    assert [count for count, _ in measurements] == [1, 1]
    assert min(peak for _, peak in measurements) < BYTES_PER_PIXEL * SIDE**2 + MARGIN
