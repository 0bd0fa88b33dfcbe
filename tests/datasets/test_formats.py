"""What the import process reads in an upload, and what it refuses, in words."""

import stat
import zipfile
from io import BytesIO

import numpy as np
import pytest

from app.dataset_import.formats.items import Limits, Picture, Pixels, Rejection
from app.dataset_import.worker import read
from app.errors import BodyTooLarge, InvalidField, MalformedRequest
from tests.datasets.uploads import csv, folders, idx, idx_zip, npz, zip_of

LIMITS = Limits(max_images=40, max_unpacked_bytes=2**20, max_file_bytes=2**16)


def items(upload, limits=LIMITS):
    return [*read(BytesIO(upload), limits)]


def arrays(upload, limits=LIMITS):
    found = items(upload, limits)
    assert all(isinstance(item, Pixels) for item in found), found
    labels, pixels = ([getattr(item, name) for item in found] for name in ("labels", "pixels"))
    return np.concatenate(pixels), np.concatenate(labels)


@pytest.mark.parametrize(
    "make",
    [
        lambda pixels, labels: idx_zip(pixels, labels),
        lambda pixels, labels: idx_zip(pixels, labels, packed=False),
        lambda pixels, labels: npz(images=pixels, labels=labels),
        lambda pixels, labels: npz(images=pixels.reshape(-1, 784) * 1.0, labels=labels * 1.0),
        lambda pixels, labels: npz(images=pixels[:, None].astype(np.int32), labels=labels),
        lambda pixels, labels: csv(pixels, labels),
        lambda pixels, labels: b"\xef\xbb\xbf" + csv(pixels, labels, header=False),
        lambda pixels, labels: csv(pixels, labels).replace(b"\n", b"\r\n"),
    ],
    ids=["idx.gz", "idx", "npz", "npz-float", "npz-channel", "csv", "csv-bom", "csv-crlf"],
)
def test_arrays_of_numbers_are_read_unchanged(images, make):
    pixels, labels = arrays(make(*images))
    assert np.array_equal(pixels, images[0])
    assert np.array_equal(labels, images[1])


def test_a_zip_of_folders_is_read_in_the_order_of_names(images):
    found = items(folders(*images))
    assert all(isinstance(item, Picture) for item in found)
    assert [item.label for item in found] == sorted(images[1])
    assert found[0].name.startswith("digits/0/")
    assert found[0].content.startswith(b"\x89PNG")


def test_transposed_arrays_are_turned_back_as_emnist_needs_it(images):
    swapped = np.ascontiguousarray(images[0].transpose(0, 2, 1))
    for upload in (idx_zip(swapped, images[1]), npz(images=swapped, labels=images[1])):
        pixels, _ = arrays(upload, LIMITS._replace(transposed=True))
        assert np.array_equal(pixels, images[0])


def entry(name, **fields):
    info = zipfile.ZipInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("../5/a.png", "unsafe_path"),
        ("5/../../a.png", "unsafe_path"),
        ("/5/a.png", "unsafe_path"),
        ("C:/5/a.png", "unsafe_path"),
        ("..\\5\\a.png", "unsafe_path"),
        (entry("5/a.png", external_attr=(stat.S_IFLNK | 0o777) << 16), "symbolic_link"),
        (entry("5/a.png", compress_type=zipfile.ZIP_LZMA), "unsupported_compression"),
        ("5/a.zip", "nested_archive"),
        ("5/a.tar.gz", "nested_archive"),
        ("a.png", "invalid_label"),
        ("10/a.png", "invalid_label"),
        ("\u0665/a.png", "invalid_label"),
    ],
    ids=lambda value: getattr(value, "filename", value),
)
def test_an_entry_that_must_not_be_read_is_rejected(name, code):
    (item,) = items(zip_of([(name, b"x")]))
    assert isinstance(item, Rejection)
    assert item.code == code


def test_an_encrypted_or_damaged_entry_is_rejected():
    upload = bytearray(zip_of([("5/a.png", b"x" * 100)]))
    for at in (upload.index(b"PK\x03\x04") + 6, upload.index(b"PK\x01\x02") + 8):
        upload[at] |= 1
    assert items(bytes(upload)) == [Rejection("5/a.png", "encrypted")]
    upload = bytearray(zip_of([("5/a.png", b"x" * 100)]))
    upload[upload.index(b"PK\x01\x02") + 16] ^= 1  # the checksum
    assert items(bytes(upload)) == [Rejection("5/a.png", "damaged")]


def test_a_file_over_the_limit_of_uploads_is_rejected():
    upload = zip_of([("5/a.png", bytes(LIMITS.max_file_bytes + 1))])
    assert items(upload) == [Rejection("5/a.png", "body_too_large")]


def test_what_systems_add_is_passed_over():
    names = ("__MACOSX/5/._a.png", "5/.DS_Store", "5/Thumbs.db", "5/", ".hidden/5/a.png")
    assert items(zip_of([(name, b"") for name in names])) == []


def test_a_zip_that_swells_is_refused_before_it_is_inflated(monkeypatch):
    upload = zip_of([(f"5/{n}.png", bytes(2**16)) for n in range(20)])
    assert len(upload) < 2**14
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("it was inflated"))
    with pytest.raises(BodyTooLarge, match="would take 1310720 bytes"):
        items(upload)


def test_a_file_that_lies_about_its_size_is_no_larger_than_it_says():
    upload = bytearray(zip_of([("5/a.png", bytes(2**20))]))
    at = upload.index(b"PK\x01\x02") + 24
    upload[at : at + 4] = (100).to_bytes(4, "little")
    assert items(bytes(upload)) == [Rejection("5/a.png", "damaged")]


@pytest.mark.parametrize(
    "make",
    [
        lambda pixels, labels: folders(pixels, labels),
        lambda pixels, labels: idx_zip(pixels, labels),
        lambda pixels, labels: npz(images=pixels, labels=labels),
        lambda pixels, labels: csv(pixels, labels),
    ],
    ids=["folders", "idx", "npz", "csv"],
)
def test_too_many_images_are_refused(images, make):
    with pytest.raises(BodyTooLarge, match="MYNET_MAX_DATASET_IMAGES=19"):
        items(make(*images), LIMITS._replace(max_images=19))


class Evil:
    def __reduce__(self):
        return pytest.fail, ("a pickle was loaded",)


PIXELS = np.zeros((3, 28, 28), np.uint8)


@pytest.mark.parametrize(
    ("upload", "error", "message"),
    [
        (b"", MalformedRequest, "in no format"),
        (b"\0" * 100, MalformedRequest, "in no format"),
        (b"PK\x03\x04" + bytes(50), MalformedRequest, "is damaged: File is not a zip file"),
        (zip_of([("5/a.png", b"x")])[:-30], MalformedRequest, "is damaged"),
        (npz(images=PIXELS), InvalidField, "has the arrays images"),
        (npz(images=PIXELS, labels=np.zeros(2)), InvalidField, "send one label an image"),
        (npz(images=PIXELS[:, :27], labels=np.zeros(3)), InvalidField, "has the shape"),
        (
            npz(images=PIXELS, labels=np.array([Evil()] * 3, dtype=object)),
            InvalidField,
            "holds Python objects",
        ),
        (npz(images=PIXELS, labels=np.array(["a"] * 3)), InvalidField, "has the type"),
        (npz(images=np.asfortranarray(PIXELS), labels=np.zeros(3)), InvalidField, "Fortran"),
        (zip_of([("images.npy", b"x"), ("labels.npy", b"x")]), InvalidField, "not an array"),
        (idx_zip(PIXELS, np.zeros(2)), InvalidField, "have 3 images, but 2 labels"),
        (zip_of([("a-images-idx3-ubyte", idx(PIXELS))]), InvalidField, "is no pair"),
        (zip_of([("a-images-idx3-ubyte", b"\1\2\3")]), InvalidField, "is not an IDX file"),
        (
            zip_of([("a-images-idx3", idx(PIXELS)[:-1]), ("a-labels-idx1", idx(np.zeros(3)))]),
            InvalidField,
            "has fewer values",
        ),
        (
            zip_of([("a-images-idx3", idx(PIXELS)), ("a-labels-idx1", idx(np.zeros(3)) + b"x")]),
            InvalidField,
            "has more values",
        ),
        (b"1,2,3\n", InvalidField, "has 3 columns instead of 785"),
        (b"1," * 10_000, InvalidField, "more than 16384 bytes"),
    ],
    ids=lambda value: "upload" if isinstance(value, bytes) else None,
)
def test_what_is_no_data_set_is_refused_in_words(upload, error, message):
    with pytest.raises(error, match=message):
        items(upload)


def test_rows_that_cannot_be_used_are_rejected_by_number(images):
    good, *lines = csv(*images, header=False).splitlines()[:7]
    bad = [
        good + b",1",
        good.replace(b"7,", b"x,", 1),
        good.replace(b"7,", b"11,", 1),
        good.replace(b",254", b",256", 1),
        good.replace(b",254", b",-1", 1),
        b"7," + b",".join([b"0"] * 784),
        b"7," + b",".join([b"1", *[b"0"] * 783]),
        b"caf\xe9" + good,
    ]
    found = items(b"\n".join([good, *bad, *lines]))
    rejected = {item.name: item.code for item in found if isinstance(item, Rejection)}
    codes = ["invalid_row", "invalid_row", "invalid_label", "invalid_pixels", "invalid_pixels"]
    codes += ["blank_image", "invalid_pixels", "invalid_row"]
    assert rejected == {f"row {n}": code for n, code in enumerate(codes, 2)}
    numbers = [number for item in found if isinstance(item, Pixels) for number in item.numbers]
    assert numbers == [1, *range(10, 16)]
