"""Requests of the load tests: 1,000 different MNIST images, and files that are not images.

The images differ so that no cache helps. Each request has the digit that the shipped weights read.
"""

from collections.abc import Sequence
from typing import Final

from app.train.recipes.dataset import load as load_mnist
from tests.conftest import DATA, png
from tests.rigs.load.closed_loop import Request
from tests.rigs.load.reference import load_bundled, predict_batch

IMAGES: Final = 1000
BOUNDARY: Final = b"a-line-between-two-parts"
CONTENT_TYPE: Final = b"multipart/form-data; boundary=" + BOUNDARY
NO_IMAGE: Final = b"This is no image, whatever its name says."


def images() -> tuple[list[bytes], list[int]]:
    """Return PNGs, and the digit of each."""
    pixels = load_mnist(DATA).test.pixels[:IMAGES]
    predictions = predict_batch(load_bundled(), list(pixels))
    return [png(image.numpy()) for image in pixels], [answer["digit"] for answer in predictions]


def requests() -> list[Request]:
    """Return a form of one file for each image."""
    return [Request(form(image), digit) for image, digit in zip(*images(), strict=True)]


def raw_request(content: bytes) -> bytes:
    """Return a request whose body is the image."""
    return _post("/predict", b"image/png", content)


def form(content: bytes) -> bytes:
    """Return a request with a form of one file."""
    return _post("/predict", CONTENT_TYPE, form_body("file", [content]))


def batch(contents: Sequence[bytes]) -> bytes:
    """Return a request with a form of many files, as `/predict/batch` takes it."""
    return _post("/predict/batch", CONTENT_TYPE, form_body("files", contents))


def with_bad(good: Sequence[Request], bad: Request, rounds: int) -> list[Request]:
    """Put a bad request after every tenth good one, and give so many rounds of all."""
    mixed: list[Request] = []
    for number, request in enumerate(good, start=1):
        mixed += [request, bad] if number % 10 == 0 else [request]
    return mixed * rounds


def form_body(field: str, contents: Sequence[bytes]) -> bytes:
    """Return the body of a form with a field of many files."""
    head = (
        f'Content-Disposition: form-data; name="{field}"; filename="digit.png"\r\n'
        "Content-Type: image/png\r\n\r\n"
    ).encode()
    parts = b"".join(b"--" + BOUNDARY + b"\r\n" + head + content + b"\r\n" for content in contents)
    return parts + b"--" + BOUNDARY + b"--\r\n"


def dataset_form(name: str, content: bytes) -> bytes:
    """Return the body of a form that uploads a data set."""
    head = b'\r\nContent-Disposition: form-data; name="name"\r\n\r\n'
    return b"--" + BOUNDARY + head + name.encode() + b"\r\n" + form_body("file", [content])


def _post(path: str, content_type: bytes, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Content-Type: " + content_type + b"\r\n\r\n" + body
