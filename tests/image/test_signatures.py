"""Refusals name what was sent, by its first bytes."""

import gzip
import io
import json
import pickle
import random
import zipfile

import numpy as np
import pytest
import safetensors.numpy

from app.errors import NotAnImage
from app.image.decode import open_image, to_grey
from app.image.signatures import HEAD_BYTES, UNREADABLE, explain, identify, is_image
from tests.conftest import png


def archive():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("seven.png", b"x")
    return buffer.getvalue()


def saved_array():
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((28, 28)))
    return buffer.getvalue()


def iso_media(brand):
    return b"\0\0\0\x18ftyp" + brand + b"\0\0\2\0isommp41" + b"\0\0\0\x08mdat"


BINARY = {
    "a PDF": [b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", b"%PDF-2.0\r\n1 0 obj"],
    "PostScript": [b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\xc5\xd0\xd3\xc6" + bytes(30)],
    "a Photoshop file": [b"8BPS\0\1" + bytes(20)],
    "a JPEG XL": [b"\0\0\0\x0cJXL \r\n\x87\n", b"\xff\x0a" + bytes(40)],
    "an icon": [b"\0\0\1\0\1\0\x10\x10" + bytes(40), b"icns\0\0\1\0"],
    "a DICOM file": [bytes(128) + b"DICM" + bytes(40)],
    "a raw photo": [iso_media(b"crx "), b"IIRO\x08\0"],
    "a video": [iso_media(b"isom"), iso_media(b"mp42"), iso_media(b"qt  "), iso_media(b"3gp4"),
                b"\x1aE\xdf\xa3" + bytes(40), b"RIFF\x10\0\0\0AVI LIST", b"\0\0\1\xba" + bytes(40)],
    "a sound": [iso_media(b"M4A "), b"ID3\4" + bytes(20), b"RIFF\x10\0\0\0WAVEfmt ", b"OggS\0\2"],
    "a zip archive": [archive()],
    "gzip": [gzip.compress(b"x", mtime=0)],
    "an archive": [b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\7\1\0", b"BZh91AY", b"\xfd7zXZ\0"],
    "NumPy": [saved_array()],
    "an IDX file": [b"\0\0\x08\3\0\0\0\1\0\0\0\x1c\0\0\0\x1c" + bytes(784)],
    "safetensors": [safetensors.numpy.save({"fc1.weight": np.zeros(3)})],
    "a pickle": [pickle.dumps({"a": 1}, protocol) for protocol in range(2, 6)],
}  # fmt: skip
TEXTS = {
    "an SVG": [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<?xml version='1.0'?>\n<svg>",
               b"\xef\xbb\xbf<!-- drawn -->\n<svg>",
               b'<?xml version="1.0"?><!DOCTYPE svg PUBLIC "x"><svg width="1">'],
    "an HTML page": [b"<!DOCTYPE html><html>", b"\n<HTML><head>", b"<!doctype HTML>\n"],
    "XML": [b"<?xml version='1.0'?><digits/>", b"<digits/>"],
    "looks like JSON": [b'{"image": "aGVsbG8="}', b'[{"a": 1}]', b'\xef\xbb\xbf{"a": 1}', b"{}",
                        b" [[0, 255]]", b'{\n  "file": 1}'],
    "a multipart form": [b'------WebKit1\r\nContent-Disposition: form-data; name="file"\r\n\r\nx'],
    "a data: URL": [b"data:image/svg+xml,%3Csvg", b"data:image/png;base64,???"],
    "a URL": [b"https://example.com/7.png", b"blob:https://example.com/1", b"s3://digits/7.png"],
    "a file's name": [b"seven.png", b"@/tmp/seven.JPG", b"C:\\images\\seven.webp"],
    "JavaScript object": [b"[object Object]", b"[object File]"],
    "Python bytes": [b"b'\\x89PNG\\r\\n'"],
    "text that begins with": [b"label,pixel0,pixel1\n7,0,0", b"7" * 900],
    "the text": [b"seven", "sieben, größer".encode()],
}  # fmt: skip


def refusal(upload):
    with pytest.raises(NotAnImage) as error:
        to_grey(open_image(upload, 10**6))
    return error.value.detail


@pytest.mark.parametrize("name", [*BINARY, *TEXTS])
def test_refusal_names_what_was_sent_and_not_what_a_decoder_met(name):
    rng = random.Random(name)
    for beginning in BINARY.get(name) or TEXTS[name]:
        for size in (0, 1, 100, 5000):
            upload = beginning + (b" " * size if name in TEXTS else rng.randbytes(size))
            detail = refusal(upload)
            assert detail.startswith(f"{UNREADABLE}: ") and name in detail, (beginning, detail)
            assert "corrupt" not in detail and "AVIF:" not in detail


def test_refusal_of_json_says_how_to_send_it():
    assert "Send it with Content-Type: application/json" in refusal(json.dumps([1] * 99).encode())


@pytest.mark.parametrize("name", ["PNG", "JPEG", "GIF", "WebP", "BMP", "TIFF"])
def test_damaged_image_is_named_as_what_it_begins_like(name):
    whole = png(np.random.default_rng(1).integers(0, 255, (30, 30), np.uint8), name)
    assert is_image(whole)
    assert name in refusal(whole[:20])


def test_unknown_bytes_are_refused_with_what_is_readable():
    rng = random.Random(1)
    assert explain(b"\xfe" + rng.randbytes(99), "Send a PNG.") == f"{UNREADABLE}. Send a PNG."
    assert identify(bytes(HEAD_BYTES)) is None
    assert identify(b"\xe4") is None, "a part of one UTF-8 character"


def test_text_of_any_form_is_no_image():
    for texts in TEXTS.values():
        assert not any(map(is_image, texts))
    assert is_image(png(np.zeros((3, 3), np.uint8)))


def test_text_is_quoted_without_control_characters():
    assert "it is text that begins with 'seven'." in explain(b"seven\r\nX-Header: 1", "Send a PNG.")
    assert "'ä'" in explain(b"\xc3\xa4\n" + "ä".encode() * HEAD_BYTES, "Send a PNG.")
    assert "'a\\tb'" in explain(b"a\tb", "Send a PNG.")
