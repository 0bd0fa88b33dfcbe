"""Answers as output tensors of the Open Inference Protocol.

What enters: a request's wishes, and answers. What leaves: a response's body, as JSON or in the
binary tensor data extension. This module does not know how images were read.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json

from app.api.tensors import Inference, Wanted
from app.errors import MalformedRequest
from app.net import DIGITS
from app.predict.model import Answer

MODEL: Final = "mynet"
# Named as the fields of `Answer`: datatype, how numpy calls it, shape.
OUTPUTS: Final = {"digit": ("INT64", "<i8", [-1]), "probabilities": ("FP32", "<f4", [-1, DIGITS])}


def wishes(inference: Inference) -> dict[str, bool]:
    """Say which outputs to give, and of each whether as bytes. Raises MalformedRequest."""
    wanted = inference.outputs or [Wanted(name=name) for name in OUTPUTS]
    for each in wanted:
        if each.name not in OUTPUTS:
            known = ", ".join(OUTPUTS)
            raise MalformedRequest(f"There is no output {each.name:.40}; there are: {known}.")
    default = inference.parameters.get("binary_data_output")
    return {each.name: each.parameters.get("binary_data", default) is True for each in wanted}


def write(
    inference: Inference, wanted: dict[str, bool], answers: Sequence[Answer]
) -> tuple[bytes, int | None]:
    """Give the body, and the length of the JSON in it where bytes follow."""
    response: dict[str, Any] = {"model_name": MODEL, "model_version": str(answers[0].version)}
    if inference.id is not None:
        response["id"] = inference.id
    values = {name: _values(name, answers) for name in wanted}
    response["outputs"] = [_output(name, values[name], wanted[name]) for name in wanted]
    document = to_json(response)
    if not any(wanted.values()):
        return document, None
    binary = [values[name].tobytes() for name in wanted if wanted[name]]
    return b"".join([document, *binary]), len(document)


def _values(name: str, answers: Sequence[Answer]) -> NDArray[Any]:
    return np.array([getattr(each, name) for each in answers], OUTPUTS[name][1])


def _output(name: str, values: NDArray[Any], as_bytes: bool) -> dict[str, Any]:
    output = {"name": name, "datatype": OUTPUTS[name][0], "shape": values.shape}
    if as_bytes:
        return {**output, "parameters": {"binary_data_size": values.nbytes}}
    return {**output, "data": values.ravel().tolist()}
