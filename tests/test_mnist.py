import gzip
import shutil

import numpy as np
import pytest

from app.errors import NotReady
from app.mnist import IMAGES, LABELS, read_test_images
from tests.conftest import DATA

read = read_test_images.__wrapped__


@pytest.fixture
def raw(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in (IMAGES, LABELS):
        shutil.copy(DATA / "MNIST" / "raw" / f"{name}.gz", raw)
    return raw


@pytest.mark.parametrize("unpacked", [(), (LABELS,), (IMAGES, LABELS)])
def test_the_test_images_are_those_that_training_sees(tmp_path, raw, mnist, unpacked):
    for name in unpacked:
        packed = raw / f"{name}.gz"
        (raw / name).write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()
    images = read(tmp_path)
    assert (images.pixels.shape, images.pixels.dtype) == ((10_000, 28, 28), np.uint8)
    assert np.array_equal(images.pixels, mnist.test.pixels.numpy())
    assert np.array_equal(images.labels, mnist.test.labels.numpy())


def test_they_are_read_once():
    assert read_test_images(DATA) is read_test_images(DATA)


def test_where_they_are_missing_it_says_when_they_come(tmp_path):
    with pytest.raises(NotReady, match="come with the first training"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        (f"{IMAGES}.gz", lambda content: content[:1000]),
        (f"{IMAGES}.gz", lambda _: b"no archive"),
        (f"{IMAGES}.gz", lambda content: content[:200] + b"x" * 50 + content[250:]),
        (IMAGES, lambda _: b""),
        (IMAGES, lambda _: b"\x00\x00\x08"),
        (IMAGES, lambda _: b"\x00\x00\x08\x03\x00\x00"),
        (IMAGES, lambda _: b"\x00\x00\x0d\x01\x00\x00\x00\x00"),
        (LABELS, lambda _: b"\x00\x00\x08\x01\x00\x00\x00\x02ab"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path, raw, name, spoil):
    path = raw / name
    path.write_bytes(spoil(path.read_bytes() if path.exists() else b""))
    with pytest.raises(NotReady, match=r"cannot be read|have the shapes"):
        read(tmp_path)
