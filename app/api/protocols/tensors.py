"""Input and output tensors of the Open Inference Protocol, in JSON or binary."""

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

from app.api.encoded_images import decode_base64
from app.api.protocols.pixels import Pixels, from_unit, numbers, shape_of, to_uint8
from app.api.request_body import parse_or_400
from app.errors import MalformedRequest
from app.net import DIGITS, PIXELS, SIDE
from app.predict.answers import BatchAnswers

HEADER: Final = "Inference-Header-Content-Length"
NAME: Final = "image"
DTYPES: Final[dict[str, np.dtype[Any]]] = {"UINT8": np.dtype("u1"), "FP32": np.dtype("<f4")}
SHAPES: Final = ([SIDE, SIDE], [PIXELS])
LENGTH_BYTES: Final = 4  # bytes of the length prefix of a BYTES element
MAX_DIMENSIONS: Final = 8  # more than any valid shape, so that an invalid one gets an exact error
MAX_HEADER_DIGITS: Final = 9  # digits


class Tensor(BaseModel):
    """An input: numbers or base64 in `data`, or `binary_data_size` bytes after the JSON."""

    model_config = ConfigDict(strict=True)

    name: str
    shape: list[int] = Field(fail_fast=True, max_length=MAX_DIMENSIONS)
    datatype: str
    parameters: dict[str, Any] = {}
    data: list[Any] | None = None


class RequestedOutput(BaseModel):
    """An output that the client requests."""

    model_config = ConfigDict(strict=True)

    name: str
    parameters: dict[str, Any] = {}


class Inference(BaseModel):
    """A request; other fields and parameters are ignored, as the protocol allows.

    In a list, only the first invalid element is reported: there may be ten million.
    """

    model_config = ConfigDict(strict=True)

    id: str | None = None
    parameters: dict[str, Any] = {}
    inputs: list[Tensor] = Field(fail_fast=True)
    outputs: list[RequestedOutput] | None = Field(None, fail_fast=True)


def read(body: bytes, header: str | None, max_images: int) -> tuple[Inference, memoryview]:
    """Split a body into the request and the bytes of its tensor. Raises MalformedRequest."""
    length = len(body)
    if header is not None:
        if not (header.isascii() and header.isdigit() and len(header) <= MAX_HEADER_DIGITS):
            raise MalformedRequest(
                f"{HEADER} is {header!r:.20}. Send the length of the JSON, a number of bytes."
            )
        length = int(header)
    if length > len(body):
        raise MalformedRequest(
            f"{HEADER} is {length}, but the body has only {len(body)} bytes. "
            "Send the length of the JSON."
        )
    return parse_or_400(Inference, body[:length], max_images), memoryview(body)[length:]


def images(inference: Inference, binary: memoryview, max_images: int) -> list[bytes] | Pixels:
    """Return the images of the one input: encoded ones, or (B, 28, 28) uint8 pixels.

    Raises MalformedRequest, or InvalidField if an image is not base64.
    """
    names = [tensor.name for tensor in inference.inputs]
    if names != [NAME]:
        raise MalformedRequest(f"The inputs are {names!s:.100}. Send one input named `{NAME}`.")
    (tensor,) = inference.inputs
    _check_shape(tensor, max_images)
    content = _binary(tensor, binary)
    return _elements(tensor, content) if tensor.datatype == "BYTES" else _pixels(tensor, content)


def _check_shape(tensor: Tensor, max_images: int) -> None:
    if tensor.datatype == "BYTES":
        is_valid = len(tensor.shape) == 1
    elif tensor.datatype in DTYPES:
        is_valid = tensor.shape[1:] in SHAPES
    else:
        datatypes = ", ".join([*DTYPES, "BYTES"])
        raise MalformedRequest(
            f"The datatype is {tensor.datatype!r:.20}. Send one of: {datatypes}."
        )
    if not is_valid:
        raise MalformedRequest(
            f"The shape is {tensor.shape!s:.60}. Send [n, {SIDE}, {SIDE}] or [n, {PIXELS}], "
            "or [n] for BYTES."
        )
    if not 1 <= tensor.shape[0] <= max_images:
        raise MalformedRequest(
            f"The shape announces {tensor.shape[0]!s:.20} images. Send 1 to {max_images}."
        )


def _binary(tensor: Tensor, binary: memoryview) -> memoryview | None:
    """Return the tensor's bytes, or None if its data is in the JSON."""
    size = tensor.parameters.get("binary_data_size")
    if (size is None) == (tensor.data is None):
        raise MalformedRequest(
            f"`{NAME}` needs either `data` or the parameter `binary_data_size`. Send one of them."
        )
    if type(size) not in (int, type(None)) or (size or 0) != len(binary):
        raise MalformedRequest(
            f"binary_data_size is {size!s:.20}, but {len(binary)} bytes follow the JSON. "
            "Both must be equal."
        )
    return None if size is None else binary


def _elements(tensor: Tensor, content: memoryview | None) -> list[bytes]:
    (number,) = tensor.shape
    if content is not None:
        return list(_split(content, number))
    texts = tensor.data or []
    _check_count(tensor, len(texts), number, "elements")
    if not all(isinstance(text, str) for text in texts):
        raise MalformedRequest(
            "`data` of a BYTES tensor has values that are not strings. Send base64 strings."
        )
    return [decode_base64(text, f"data.{n}") for n, text in enumerate(texts)]


def _split(content: memoryview, number: int) -> Iterator[bytes]:
    offset = 0
    for n in range(number):
        start = offset + LENGTH_BYTES
        offset = start + int.from_bytes(content[offset:start], "little")
        if offset > len(content):
            raise MalformedRequest(
                f"Element {n} of {number} of the BYTES tensor is truncated. Send it whole."
            )
        yield content[start:offset].tobytes()
    if offset < len(content):
        raise MalformedRequest(
            f"The BYTES tensor has more than the {number} elements of its shape. Correct the shape."
        )


def _check_count(tensor: Tensor, actual: int, expected: int, unit: str) -> None:
    if actual != expected:
        raise MalformedRequest(
            f"The shape {tensor.shape} needs {expected} {unit}, but {actual} were sent."
        )


def _pixels(tensor: Tensor, content: memoryview | None) -> Pixels:
    dtype, count = DTYPES[tensor.datatype], tensor.shape[0] * PIXELS
    if content is None:
        actual = math.prod(shape_of(tensor.data))
        _check_count(tensor, actual, count, "numbers in rows of equal length")
        values = numbers(tensor.data or [])
    else:
        _check_count(tensor, len(content), count * dtype.itemsize, "bytes")
        values = np.frombuffer(content, dtype)
    values = values.reshape(-1, SIDE, SIDE)
    return to_uint8(values) if tensor.datatype == "UINT8" else from_unit(values)


MODEL: Final = "mynet"
# Values are the datatype, numpy's name for it, and the shape.
OUTPUTS: Final = {"digit": ("INT64", "<i8", [-1]), "probabilities": ("FP32", "<f4", [-1, DIGITS])}


def requested_outputs(inference: Inference) -> dict[str, bool]:
    """Return the requested outputs, and for each whether as bytes. Raises MalformedRequest."""
    outputs = inference.outputs or [RequestedOutput(name=name) for name in OUTPUTS]
    for output in outputs:
        if output.name not in OUTPUTS:
            available = ", ".join(OUTPUTS)
            raise MalformedRequest(
                f"The output {output.name!r:.40} does not exist. Available outputs: {available}."
            )
    default = inference.parameters.get("binary_data_output")
    return {
        output.name: output.parameters.get("binary_data", default) is True for output in outputs
    }


def encode_response(
    inference: Inference, output_as_bytes: dict[str, bool], answers: BatchAnswers
) -> tuple[bytes, int | None]:
    """Return the body, and the length of its JSON part if bytes follow."""
    response: dict[str, Any] = {"model_name": MODEL, "model_version": str(answers.version)}
    if inference.id is not None:
        response["id"] = inference.id
    values = {name: _values(name, answers) for name in output_as_bytes}
    response["outputs"] = [
        _output(name, values[name], output_as_bytes[name]) for name in output_as_bytes
    ]
    document = to_json(response)
    if not any(output_as_bytes.values()):
        return document, None
    binary = [values[name].tobytes() for name in output_as_bytes if output_as_bytes[name]]
    return b"".join([document, *binary]), len(document)


def _values(name: str, answers: BatchAnswers) -> NDArray[Any]:
    values = answers.digits if name == "digit" else answers.probabilities
    return values.astype(OUTPUTS[name][1])


def _output(name: str, values: NDArray[Any], as_bytes: bool) -> dict[str, Any]:
    output = {"name": name, "datatype": OUTPUTS[name][0], "shape": values.shape}
    if as_bytes:
        return {**output, "parameters": {"binary_data_size": values.nbytes}}
    return {**output, "data": values.ravel().tolist()}
