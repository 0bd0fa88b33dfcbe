"""HEIC, as iPhones send it, and JPEG 2000."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from app.errors import ImageTooLarge, NotAnImage
from app.image.decode import ORIENTATION, memory_bytes, open_image, to_grey
from app.predict.local import preprocess
from tests.conftest import png

MAX_PIXELS = 10**7


@pytest.fixture
def drawing():
    """A seven-like drawing that looks different in each orientation, (90, 60)."""
    pixels = np.full((90, 60), 255, np.uint8)
    pixels[10:20, 10:50] = 0
    pixels[20:80, 40:50] = 0
    return pixels


def heic(pixels, orientation=1):
    image = Image.fromarray(pixels).convert("RGB")
    exif = image.getexif()
    exif[ORIENTATION] = orientation
    buffer = BytesIO()
    # As an iPhone does: the pixels as the sensor has them, and the box `irot` or `imir`.
    image.save(buffer, "HEIF", quality=90, exif=exif.tobytes())
    return buffer.getvalue()


def test_heic_is_read_as_the_png_of_its_pixels(drawing):
    read, expected = (preprocess(upload, MAX_PIXELS) for upload in (heic(drawing), png(drawing)))
    assert read.normalised.inverted == expected.normalised.inverted
    difference = read.normalised.pixels.astype(int) - expected.normalised.pixels
    assert np.abs(difference).mean() < 8


@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic_is_turned_upright_once(drawing, orientation):
    """An iPhone stores the sensor's pixels, and how to turn them."""
    upright = to_grey(open_image(heic(drawing, orientation), MAX_PIXELS))
    image = Image.open(BytesIO(png(drawing)))
    exif = image.getexif()
    exif[ORIENTATION] = orientation
    buffer = BytesIO()
    image.save(buffer, "PNG", exif=exif)
    expected = to_grey(open_image(buffer.getvalue(), MAX_PIXELS))
    assert upright.size == expected.size
    assert np.abs(upright.pixels.astype(int) - expected.pixels).mean() < 8


def test_heic_is_held_to_the_limit_of_pixels(drawing):
    with pytest.raises(ImageTooLarge):
        open_image(heic(drawing), 60 * 90 - 1)
    with pytest.raises(NotAnImage):
        preprocess(heic(drawing)[:-50], MAX_PIXELS)


def test_photo_of_twelve_megapixels_fits_the_lane_of_photos():
    from app.decoders.budget import DATA_BYTES, Lane

    upload = heic(np.zeros((3024, 4032), np.uint8))
    assert memory_bytes(open_image(upload, 5 * MAX_PIXELS)) <= DATA_BYTES[Lane.PHOTO]


def test_jpeg_2000_is_read(drawing):
    read = to_grey(open_image(png(drawing, "JPEG2000"), MAX_PIXELS))
    assert np.abs(read.pixels.astype(int) - drawing).mean() < 8
