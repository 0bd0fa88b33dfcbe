"""Images as input tensors of the Open Inference Protocol.

What enters: a request's body. What leaves: the request, and its images. This module does not know
what answers. In the binary tensor data extension, a body is a JSON document, whose length a header
tells, and then the tensor's bytes: little-endian, rows first, BYTES with their lengths before them.
"""

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from app.api.body import decode_base64, parse_or_400
from app.api.pixels import Pixels, from_unit, numbers, shape_of, tones
from app.errors import MalformedRequest
from app.net import PIXELS, SIDE

HEADER: Final = "Inference-Header-Content-Length"
NAME: Final = "image"
DTYPES: Final[dict[str, np.dtype[Any]]] = {"UINT8": np.dtype("u1"), "FP32": np.dtype("<f4")}
SHAPES: Final = ([SIDE, SIDE], [PIXELS])
LENGTH: Final = 4  # bytes that tell the length of a BYTES element
LONGEST_HEADER: Final = 9  # digits


class Tensor(BaseModel):
    """An input: numbers or base64 in `data`, or as many bytes after the JSON as it says."""

    model_config = ConfigDict(strict=True)

    name: str
    shape: list[int] = Field(fail_fast=True)
    datatype: str
    parameters: dict[str, Any] = {}
    data: list[Any] | None = None


class Wanted(BaseModel):
    """An output that is asked for."""

    model_config = ConfigDict(strict=True)

    name: str
    parameters: dict[str, Any] = {}


class Inference(BaseModel):
    """A request; other fields and parameters are passed over, as the protocol allows.

    Of a list the first element that is wrong is told: there may be ten million.
    """

    model_config = ConfigDict(strict=True)

    id: str | None = None
    parameters: dict[str, Any] = {}
    inputs: list[Tensor] = Field(fail_fast=True)
    outputs: list[Wanted] | None = Field(None, fail_fast=True)


def read(body: bytes, header: str | None) -> tuple[Inference, bytes]:
    """Part a body into the request and the bytes of its tensor. Raises MalformedRequest."""
    length = len(body)
    if header is not None:
        if not (header.isascii() and header.isdigit() and len(header) <= LONGEST_HEADER):
            raise MalformedRequest(f"{HEADER}: {header:.20} is not a number of bytes.")
        length = int(header)
    if length > len(body):
        raise MalformedRequest(f"{HEADER} is {length}, but the body has {len(body)} bytes.")
    return parse_or_400(Inference, body[:length]), body[length:]


def images(inference: Inference, binary: bytes, most: int) -> list[bytes] | Pixels:
    """Give the images of the one input: encoded ones, or (B, 28, 28) uint8 pixels.

    Raises MalformedRequest; InvalidField for what is no base64.
    """
    names = [tensor.name for tensor in inference.inputs]
    if names != [NAME]:
        raise MalformedRequest(f"Send the one input `{NAME}`; the inputs sent are: {names!s:.100}.")
    (tensor,) = inference.inputs
    _check_shape(tensor, most)
    content = _binary(tensor, binary)
    return _elements(tensor, content) if tensor.datatype == "BYTES" else _pixels(tensor, content)


def _check_shape(tensor: Tensor, most: int) -> None:
    if tensor.datatype == "BYTES":
        right = len(tensor.shape) == 1
    elif tensor.datatype in DTYPES:
        right = tensor.shape[1:] in SHAPES
    else:
        known = ", ".join([*DTYPES, "BYTES"])
        raise MalformedRequest(f"datatype is {tensor.datatype:.20}, and may be {known}.")
    if not right:
        raise MalformedRequest(
            f"shape is {tensor.shape!s:.60}, and may be [n, {SIDE}, {SIDE}] or [n, {PIXELS}], "
            "or [n] for BYTES."
        )
    if not 1 <= tensor.shape[0] <= most:
        raise MalformedRequest(f"{tensor.shape[0]!s:.20} images were sent; 1 to {most} may be.")


def _binary(tensor: Tensor, binary: bytes) -> bytes | None:
    """Give the tensor's bytes; None where its data is in the JSON."""
    size = tensor.parameters.get("binary_data_size")
    if (size is None) == (tensor.data is None):
        raise MalformedRequest(f"`{NAME}` needs `data`, or else the parameter `binary_data_size`.")
    if type(size) not in (int, type(None)) or (size or 0) != len(binary):
        raise MalformedRequest(
            f"binary_data_size is {size!s:.20}, and {len(binary)} bytes follow the JSON."
        )
    return None if size is None else binary


def _elements(tensor: Tensor, content: bytes | None) -> list[bytes]:
    (number,) = tensor.shape
    if content is not None:
        return list(_split(content, number))
    texts = tensor.data or []
    _check_count(tensor, len(texts), number, "elements")
    if not all(isinstance(each, str) for each in texts):
        raise MalformedRequest("data of BYTES in JSON is a list of base64 strings.")
    return [decode_base64(text, f"data.{n}") for n, text in enumerate(texts)]


def _split(content: bytes, number: int) -> Iterator[bytes]:
    at = 0
    for n in range(number):
        start = at + LENGTH
        at = start + int.from_bytes(content[at:start], "little")
        if at > len(content):
            raise MalformedRequest(f"Element {n} of {number} of the BYTES tensor is cut off.")
        yield content[start:at]
    if at < len(content):
        raise MalformedRequest(f"More than {number} elements of the BYTES tensor were sent.")


def _check_count(tensor: Tensor, sent: int, right: int, what: str) -> None:
    if sent != right:
        raise MalformedRequest(f"shape {tensor.shape} is {right} {what}, but {sent} were sent.")


def _pixels(tensor: Tensor, content: bytes | None) -> Pixels:
    dtype, count = DTYPES[tensor.datatype], tensor.shape[0] * PIXELS
    if content is None:
        sent = math.prod(shape_of(tensor.data))
        _check_count(tensor, sent, count, "numbers, in rows of one length")
        values = numbers(tensor.data or [])
    else:
        _check_count(tensor, len(content), count * dtype.itemsize, "bytes")
        values = np.frombuffer(content, dtype)
    values = values.reshape(-1, SIDE, SIDE)
    return tones(values) if tensor.datatype == "UINT8" else from_unit(values)
