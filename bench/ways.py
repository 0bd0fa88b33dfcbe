"""All the ways in which one prediction may be asked for.

What enters: an image, and a version that may be named. What leaves: what to send, and how to read
the version and the probabilities in what comes back. This module does not know who answers.
"""

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any, NamedTuple

from bench.digits import KIND, form_body

Reading = tuple[int, list[float]]


class Way(NamedTuple):
    """What to send, how to read the answer, and whether the version is named."""

    path: str
    body: bytes
    headers: dict[str, str]
    read: Callable[[Any], Reading]
    names: bool = False


def ways(image: bytes, version: int) -> list[Way]:
    """List them all."""
    text = b64encode(image).decode()
    as_form, as_json = {"Content-Type": KIND.decode()}, {"Content-Type": "application/json"}
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [text]}
    infer = json.dumps({"inputs": [tensor]}).encode()
    instances = json.dumps({"instances": [{"b64": text}]}).encode()
    return [
        Way("/predict", image, {}, _own),
        Way("/predict", form_body("file", [image]), as_form, _own),
        Way("/predict", json.dumps({"image": text}).encode(), as_json, _own),
        Way("/predict?explain=true", image, {}, _own),
        Way(f"/predict?version={version}", image, {}, _own, True),
        Way("/invocations", image, {"Content-Type": "image/png"}, _own),
        Way("/v1/models/mynet:predict", instances, as_json, _first),
        Way("/v2/models/mynet/infer", infer, as_json, _tensors),
        Way(f"/v2/models/mynet/versions/{version}/infer", infer, as_json, _tensors, True),
    ]


def _own(answer: Any) -> Reading:
    return answer["version"], answer["probabilities"]


def _first(answer: Any) -> Reading:
    return _own(answer["predictions"][0])


def _tensors(answer: Any) -> Reading:
    outputs = {each["name"]: each["data"] for each in answer["outputs"]}
    return int(answer["model_version"]), outputs["probabilities"]
