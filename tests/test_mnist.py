import gzip
import shutil

import numpy as np
import pytest

from app.errors import NotReady
from app.mnist.files import read_test_images
from tests.conftest import DATA

IMAGES, LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"
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
    with pytest.raises(NotReady, match="have not been downloaded yet"):
        read(tmp_path)


UNPACKED_DAMAGE = [
    (IMAGES, b""),
    (IMAGES, b"\x00\x00\x08"),
    (IMAGES, b"\x00\x00\x08\x03\x00\x00"),
    (IMAGES, b"\x00\x00\x0d\x01\x00\x00\x00\x00"),
    (IMAGES, b"\x00\x00\x08\x01\x00\x00\x00\x00"),
    (LABELS, b"\x00\x00\x08\x01\x00\x00\x00\x02ab"),
    (LABELS, bytes(10_008)),
]


@pytest.mark.parametrize(("name", "content"), UNPACKED_DAMAGE)
def test_a_damaged_file_without_its_archive_is_told(tmp_path, raw, name, content):
    (raw / name).write_bytes(content)
    (raw / f"{name}.gz").unlink()
    with pytest.raises(NotReady, match=r"cannot be read: (t10k-|there are)"):
        read(tmp_path)


@pytest.mark.parametrize(("name", "content"), UNPACKED_DAMAGE)
def test_a_damaged_file_beside_its_archive_is_read_from_that(tmp_path, raw, mnist, name, content):
    (raw / name).write_bytes(content)
    images = read(tmp_path)
    assert np.array_equal(images.pixels, mnist.test.pixels.numpy())
    assert np.array_equal(images.labels, mnist.test.labels.numpy())
    assert (raw / name).read_bytes() == content, "a reader writes nothing"


@pytest.mark.parametrize(
    "corrupt",
    [
        lambda content: content[:1000],
        lambda _: b"no archive",
        lambda content: content[:200] + b"x" * 50 + content[250:],
        lambda _: gzip.compress(b"no IDX file"),
    ],
)
def test_a_damaged_archive_is_told(tmp_path, raw, corrupt):
    path = raw / f"{IMAGES}.gz"
    path.write_bytes(corrupt(path.read_bytes()))
    with pytest.raises(NotReady, match=r"cannot be read: t10k-images-idx3-ubyte\.gz"):
        read(tmp_path)
