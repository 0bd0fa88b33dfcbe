"""Every way to request one prediction, and to read its version and probabilities.

The routes differ in their bodies and answers; these calls let one test compare them all.
"""

import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.rigs.load.uploads import CONTENT_TYPE, form_body

Reading = tuple[int, list[float]]


class Way(NamedTuple):
    """A way to predict: the request, how to read the answer, and whether it names a version."""

    path: str
    body: bytes
    headers: dict[str, str]
    read: Callable[[Any], Reading]
    names_version: bool = False


def ways(image: bytes, version: int) -> list[Way]:
    """List them all."""
    text = b64encode(image).decode()
    form_headers, json_headers = (
        {"Content-Type": CONTENT_TYPE.decode()},
        {"Content-Type": "application/json"},
    )
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [text]}
    infer = json.dumps({"inputs": [tensor]}).encode()
    instances = json.dumps({"instances": [{"b64": text}]}).encode()
    return [
        Way("/predict", image, {}, _parse_mynet),
        Way("/predict", form_body("file", [image]), form_headers, _parse_mynet),
        Way("/predict", json.dumps({"image": text}).encode(), json_headers, _parse_mynet),
        Way("/predict?explain=true", image, {}, _parse_mynet),
        Way(f"/predict?version={version}", image, {}, _parse_mynet, True),
        Way("/invocations", image, {"Content-Type": "image/png"}, _parse_mynet),
        Way("/v1/models/mynet:predict", instances, json_headers, _parse_first),
        Way("/v2/models/mynet/infer", infer, json_headers, _parse_tensors),
        Way(
            f"/v2/models/mynet/versions/{version}/infer", infer, json_headers, _parse_tensors, True
        ),
    ]


def _parse_mynet(answer: Any) -> Reading:
    return answer["version"], answer["probabilities"]


def _parse_first(answer: Any) -> Reading:
    return _parse_mynet(answer["predictions"][0])


def _parse_tensors(answer: Any) -> Reading:
    outputs = {output["name"]: output["data"] for output in answer["outputs"]}
    return int(answer["model_version"]), outputs["probabilities"]
