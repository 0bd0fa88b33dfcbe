"""The Open Inference Protocol: tensors as JSON and as bytes."""

import base64
import json
import struct

import numpy as np
import pytest

from app.torch_net import MyNet, weights_of
from app.versions.registry import Registry

pytestmark = pytest.mark.read_only

INFER = "/v2/models/mynet/infer"
HEADER = "Inference-Header-Content-Length"


def tensor(values, datatype="UINT8", **more):
    return {"name": "image", "shape": list(np.shape(values)), "datatype": datatype, **more}


def as_json(values, datatype="UINT8"):
    return tensor(values, datatype, data=np.asarray(values).tolist())


def send_bytes(client, head, content, length=None):
    """Send a body as tritonclient does: JSON, then bytes, and no Content-Type."""
    document = json.dumps(head).encode()
    headers = {HEADER: str(len(document) if length is None else length)}
    return client.post(INFER, content=document + content, headers=headers)


def outputs(answer):
    """The outputs by name, as arrays, whichever way each was sent."""
    assert answer.status_code == 200, answer.text
    content = answer.content
    length = int(answer.headers.get(HEADER, len(content)))
    body, offset, arrays = json.loads(content[:length]), length, {}
    for output in body["outputs"]:
        dtype = {"INT64": "<i8", "FP32": "<f4"}[output["datatype"]]
        size = output.get("parameters", {}).get("binary_data_size")
        if size is None:
            values = np.array(output["data"], dtype)
        else:
            values, offset = np.frombuffer(content[offset : offset + size], dtype), offset + size
        arrays[output["name"]] = values.reshape(output["shape"])
    assert offset == len(content)
    return body, arrays


@pytest.mark.parametrize("tone", [0, 8, 16])
def test_pixels_without_ink_are_refused(client, tone):
    values = np.full((1, 28, 28), tone, np.uint8)
    response = client.post(INFER, json={"inputs": [as_json(values)]})
    assert response.status_code == 422
    assert response.json()["error"].startswith("Image 0: The image contains no ink")


def test_the_server_says_what_it_is(client):
    body = client.get("/v2").json()
    assert (body["name"], body["extensions"]) == ("mynet", ["binary_tensor_data"])


def test_health_has_bodies(client):
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    for path in ("/v2/models/mynet/ready", "/v2/models/mynet/versions/1/ready"):
        assert client.get(path).json() == {"name": "mynet", "ready": True}


@pytest.mark.parametrize("path", ["/v2/models/mynet", "/v2/models/mynet/versions/1"])
def test_metadata_names_the_tensors(client, path):
    body = client.get(path).json()
    assert (body["name"], body["versions"]) == ("mynet", ["1"])
    assert body["inputs"] == [{"name": "image", "datatype": "UINT8", "shape": [-1, 28, 28]}]
    assert [(output["name"], output["shape"]) for output in body["outputs"]] == [
        ("digit", [-1]),
        ("probabilities", [-1, 10]),
    ]


def test_pixels_are_read_in_every_way(client, digits):
    flat, unit = digits.reshape(-1, 784), (digits / 255).astype("<f4")
    bodies = [
        as_json(digits),
        as_json(flat),
        as_json(unit, "FP32"),
        tensor(digits, data=digits.ravel().tolist()),
    ]
    answers = [client.post(INFER, json={"inputs": [body]}) for body in bodies]
    for values, datatype in ((digits, "UINT8"), (flat, "UINT8"), (unit, "FP32")):
        size = {"binary_data_size": values.nbytes}
        head = {"inputs": [tensor(values, datatype, parameters=size)]}
        answers.append(send_bytes(client, head, values.tobytes()))
    results = [outputs(answer)[1] for answer in answers]
    for arrays in results:
        assert arrays["digit"].tolist() == [7, 2, 1, 0]
        assert arrays["probabilities"].sum(1) == pytest.approx(np.ones(4), abs=1e-5)
        assert np.array_equal(arrays["probabilities"], results[0]["probabilities"])


def test_encoded_images_are_read(client, seven):
    text = base64.b64encode(seven).decode()
    payload = {"inputs": [tensor([text, text], "BYTES", data=[text, text])]}
    assert outputs(client.post(INFER, json=payload))[1]["digit"].tolist() == [7, 7]
    content = struct.pack("<I", len(seven)) + seven
    size = {"binary_data_size": len(content)}
    answer = send_bytes(client, {"inputs": [tensor([0], "BYTES", parameters=size)]}, content)
    assert outputs(answer)[1]["digit"].tolist() == [7]


def test_the_answer_names_what_was_asked(client, digits):
    body, _ = outputs(client.post(INFER, json={"id": "mine", "inputs": [as_json(digits)]}))
    named = body["id"], body["model_name"], body["model_version"]
    assert named == ("mine", "mynet", "1")
    body, _ = outputs(client.post(INFER, json={"inputs": [as_json(digits)]}))
    assert "id" not in body


@pytest.mark.parametrize(
    ("options", "names", "binary"),
    [
        ({}, ["digit", "probabilities"], []),
        ({"outputs": [{"name": "digit"}]}, ["digit"], []),
        (
            {"outputs": [], "parameters": {"binary_data_output": "no"}},
            ["digit", "probabilities"],
            [],
        ),
        (
            {"parameters": {"binary_data_output": True}},
            ["digit", "probabilities"],
            ["digit", "probabilities"],
        ),
        (
            {
                "parameters": {"binary_data_output": True},
                "outputs": [
                    {"name": "probabilities"},
                    {"name": "digit", "parameters": {"binary_data": False}},
                ],
            },
            ["probabilities", "digit"],
            ["probabilities"],
        ),
    ],
)
def test_outputs_are_chosen(client, digits, options, names, binary):
    answer = client.post(INFER, json={"inputs": [as_json(digits)], **options})
    body, arrays = outputs(answer)
    assert [output["name"] for output in body["outputs"]] == list(arrays) == names
    assert [output["name"] for output in body["outputs"] if "parameters" in output] == binary
    kind = "application/octet-stream" if binary else "application/json"
    assert answer.headers["content-type"] == kind


@pytest.mark.read_only(False)
def test_a_version_is_asked(client, digits, settings):
    registry = Registry(settings.models_dir)
    other = registry.save(weights_of(MyNet()), registry.card(1))
    payload = {"inputs": [as_json(digits)]}
    body, _ = outputs(client.post(f"/v2/models/mynet/versions/{other}/infer", json=payload))
    assert body["model_version"] == str(other)


@pytest.mark.read_only(False)
def test_images_are_counted(client, digits):
    client.post(INFER, json={"inputs": [as_json(digits)]})
    assert client.get("/health/ready").json()["images"] == {"answered": 4}
