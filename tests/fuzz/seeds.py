"""Seed inputs of each fuzzing target: valid ones of every kind, and odd ones from the tests."""

import json
from io import BytesIO

import numpy as np
import safetensors.torch
import torch
from PIL import Image, ImageDraw

from app.torch_net import MyNet
from tests.datasets.uploads import csv, folders, idx_zip, npz

IMAGE_FORMS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM", "QOI")
IMAGE_FORMS += ("DIB", "PCX", "SGI", "XBM", "TGA")
MODES = ("L", "1", "P", "RGB", "RGBA", "LA", "I;16", "I", "F", "CMYK", "YCbCr", "LAB")
VARIANTS = (
    ("JPEG", {"progressive": True}),
    ("PNG", {"save_all": True}),
    ("GIF", {"save_all": True}),
    ("WEBP", {"save_all": True, "lossless": True}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "tiff_adobe_deflate"}),
    ("TIFF", {"compression": "packbits"}),
    ("TIFF", {"save_all": True, "big_tiff": True}),
)
BOUNDARY = b"x7"
FILE = b'Content-Disposition: form-data; name="file"; filename="a.png"\r\nContent-Type: image/png'


def images() -> list[bytes]:
    """A seven in all formats and modes that can be written."""
    seven = Image.new("L", (28, 28))
    ImageDraw.Draw(seven).line([(6, 7), (21, 7), (12, 22)], fill=255, width=3)
    found = [_saved(seven.convert("L"), form, {}) for form in IMAGE_FORMS]
    found += [_saved(_in_mode(seven, mode), form, {}) for mode in MODES for form in ("PNG", "TIFF")]
    for form, options in VARIANTS:
        more = {"append_images": [seven.rotate(90)]} if "save_all" in options else {}
        found.append(_saved(seven, form, options | more))
    return [content for content in found if content]


def forms() -> list[bytes]:
    """Multipart bodies, all with one boundary."""
    label = b'Content-Disposition: form-data; name="label"'
    heads = ([FILE], [FILE, label], [label], [FILE, FILE], [b"Content-Type: x"], [])
    quoted = b'content-disposition: form-data; filename="a;b\\"c.png"; name=file'
    encoded = b"Content-Transfer-Encoding: base64\r\n" + FILE
    starred = b"Content-Disposition: form-data; name=file; filename*=UTF-8''caf%C3%A9"
    return [_form(part_heads) for part_heads in (*heads, [quoted], [encoded], [starred])]


def weights() -> list[bytes]:
    """Weights as files: MyNet's own and small ones, in all forms."""
    small = {"fc1.bias": torch.zeros(3), "x": torch.ones(2, 2, dtype=torch.float16)}
    small_files = [safetensors.torch.save(small), safetensors.torch.save({}, {"card": "{}"})]
    for new in (True, False):
        buffer = BytesIO()
        torch.save(small, buffer, _use_new_zipfile_serialization=new)
        small_files.append(buffer.getvalue())
    half = {name: tensor.half() for name, tensor in MyNet().state_dict().items()}
    return [*small_files, safetensors.torch.save(half)[:2000]]


def datasets() -> list[bytes]:
    """Archives of all kinds with the same three images."""
    pixels = np.zeros((3, 28, 28), np.uint8)
    pixels[:, 6:22, 12:16] = 255
    labels = np.array([1, 2, 3], np.uint8)
    return [
        folders(pixels, labels),
        idx_zip(pixels, labels),
        idx_zip(pixels, labels, packed=False),
        npz(images=pixels, labels=labels),
        npz(images=pixels / 1.0, labels=labels / 1.0),
        csv(pixels, labels),
    ]


def requests() -> list[bytes]:
    """HTTP requests to all routes that take a body, and to some that take none."""
    (png, *_), (form, *_) = images(), forms()
    numbers = json.dumps([0] * 784).encode()
    tensor = b'{"name":"image","shape":[1,784],"datatype":"UINT8","data":%b}' % numbers
    binary = b'{"inputs":[{"name":"image","shape":[1,784],"datatype":"UINT8",'
    binary += b'"parameters":{"binary_data_size":784}}]}'
    multipart = b"Content-Type: multipart/form-data; boundary=" + BOUNDARY
    as_json = b"Content-Type: application/json"
    length = b"Inference-Header-Content-Length: %d" % len(binary)
    bodies = [
        (b"/predict", b"X-Request-ID: a", png),
        (b"/predict", multipart, form.replace(b"abc", png)),
        (b"/predict?explain=true&version=1", b"Content-Type: image/png", png),
        (b"/predict", as_json, b'{"image":"data:image/png;base64,iVBORw0KGgo="}'),
        (b"/predict/batch", multipart, form.replace(b'"file"', b'"files"')),
        (b"/invocations", b"Content-Type: application/octet-stream", png),
        (b"/v1/models/mynet:predict", as_json, b'{"instances":[%b]}' % numbers),
        (b"/v1/models/mynet:predict", as_json, b'{"instances":[{"b64":"iVBORw0KGgo="}]}'),
        (b"/v2/models/mynet/infer", as_json, b'{"inputs":[%b]}' % tensor),
        (b"/v2/models/mynet/versions/1/infer", length, binary + bytes(784)),
        (b"/train", as_json, b'{"epochs":0,"learning_rate":0.1,"seed":1,"note":"a","device":"x"}'),
        (b"/train/none/cancel", b"X: y", b""),
        (b"/models?note=a", multipart, form.replace(b'"file"', b'"other"')),
    ]
    get_paths = (b"/train?limit=2&after=a&status=queued", b"/models", b"/models/1", b"/train/a/log")
    get_paths += (b"/models/1/weights?format=pt", b"/train/a/events?after=1&limit=2", b"/metrics")
    raw_requests = [_request(b"POST", *arguments) for arguments in bodies]
    chunked = b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    raw_requests.append(chunked + b"%x\r\n%b\r\n0\r\n\r\n" % (len(png), png))
    raw_requests.append(_request(b"PUT", b"/models/current", as_json, b'{"version":1}'))
    return raw_requests + [_request(b"GET", path, b"Accept: */*", b"") for path in get_paths]


def _form(heads: list[bytes]) -> bytes:
    parts = b"".join(b"--%b\r\n%b\r\n\r\nabc\r\n" % (BOUNDARY, head) for head in heads)
    return parts + b"--%b--\r\n" % BOUNDARY


def _request(method: bytes, path: bytes, header: bytes, body: bytes) -> bytes:
    head = b"%b %b HTTP/1.1\r\nHost: a\r\n%b\r\nContent-Length: %d\r\n\r\n"
    return head % (method, path, header, len(body)) + body


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    if mode == "I;16":
        return Image.fromarray(np.asarray(image, np.uint16) * 257)
    return image.convert("RGB").convert(mode) if mode == "LAB" else image.convert(mode)


def _saved(image: Image.Image, form: str, options: dict[str, object]) -> bytes:
    buffer = BytesIO()
    try:
        (image.convert("1") if form == "XBM" else image).save(buffer, form, **options)
    except (OSError, KeyError, ValueError):  # not every format knows every mode
        return b""
    return buffer.getvalue()
