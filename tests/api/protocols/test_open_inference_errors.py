"""Every refusal of the Open Inference Protocol, in its form."""

import base64
import json

import numpy as np
import pytest

from tests.api.protocols.test_open_inference import HEADER, INFER, as_json, send_bytes, tensor

pytestmark = pytest.mark.read_only


def assert_error(answer, status, *words):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert set(answer.json()) == {"error"}
    for word in words:
        assert word in answer.json()["error"]


@pytest.mark.parametrize("version", ["99", "0", "x", "9" * 30])
def test_an_unknown_version_is_not_found(client, digits, version):
    of_version = f"/v2/models/mynet/versions/{version}"
    assert_error(client.get(of_version), 404, "version")
    assert_error(client.get(f"{of_version}/ready"), 404, "version")
    assert_error(
        client.post(f"{of_version}/infer", json={"inputs": [as_json(digits)]}), 404, "version"
    )


ROW = {"name": "image", "shape": [1, 784], "datatype": "UINT8", "data": [0] * 784}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"name": "picture"}, "picture"),
        ({"name": 7}, "inputs.0.name"),
        ({"datatype": "FP64"}, "FP64"),
        ({"shape": [1, 28, 27]}, "[1, 28, 27]"),
        ({"shape": [784]}, "[784]"),
        ({"shape": [-1, 784]}, "-1 images"),
        ({"shape": [0, 784], "data": []}, "0 images"),
        ({"shape": [257, 784]}, "256"),
        ({"shape": [2, 784]}, "784 were sent"),
        ({"shape": [1, "784"]}, "inputs.0.shape.1"),
        ({"shape": [1, 1], "datatype": "BYTES"}, "[n] for BYTES"),
        ({"shape": [1], "datatype": "BYTES", "data": [7]}, "base64 strings"),
        ({"shape": [2], "datatype": "BYTES", "data": ["aGk="]}, "1 were sent"),
        ({"data": None}, "binary_data_size"),
        ({"data": [0] * 783}, "783"),
        ({"data": [256] + [0] * 783}, "0 (background) to 255"),
        ({"data": [-1] + [0] * 783}, "0 (background) to 255"),
        ({"data": [0.5] + [0] * 783}, "whole numbers"),
        ({"data": ["x"] * 784}, "numbers"),
        ({"data": [True] * 784}, "numbers"),
        ({"data": ["x" * 1000] + [0] * 783}, "numbers"),
        ({"data": [{}] * 784}, "numbers"),
        ({"data": [[0] * 392, [0] * 391]}, "equal length"),
        ({"data": [[0] * 392, 0]}, "equal length"),
        ({"data": [[0], [0, 0]]}, "equal length"),
        ({"data": []}, "0 were sent"),
        ({"data": [10**400] + [0] * 783}, "numbers"),
        ({"datatype": "FP32", "data": [1.01] + [0] * 783}, "to 1 (ink)"),
        ({"datatype": "FP32", "data": [255] * 784}, "to 1 (ink)"),
        ({"parameters": {"binary_data_size": 784}}, "binary_data_size"),
    ],
)
def test_wrong_tensors_are_refused(client, change, word):
    assert_error(client.post(INFER, json={"inputs": [{**ROW, **change}]}), 400, word)


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"[]", "JSON"),
        (b"{}", "inputs"),
        (b'{"inputs": []}', "one input"),
        (json.dumps({"inputs": [ROW, ROW]}).encode(), "one input"),
        (json.dumps({"inputs": [ROW], "outputs": [{"name": "x"}]}).encode(), "digit"),
        (json.dumps({"inputs": [ROW], "id": 7}).encode(), "id"),
        (b'{"inputs": [{"name": "image", "shape": [1, 784], "data": [NaN]}]}', "inputs"),
        (b"[" * 100_000, "JSON"),
    ],
)
def test_wrong_requests_are_refused(client, body, word):
    assert_error(client.post(INFER, content=body), 400, word)


def test_nan_is_no_pixel(client):
    values = np.full((1, 784), np.nan, "<f4")
    head = {"inputs": [tensor(values, "FP32", parameters={"binary_data_size": values.nbytes})]}
    assert_error(send_bytes(client, head, values.tobytes()), 400, "to 1 (ink)")


@pytest.mark.parametrize(
    ("size", "byte_count", "length", "word"),
    [
        (784, 783, None, "783"),
        (783, 783, None, "784"),
        (True, 1, None, "binary_data_size"),
        ("784", 784, None, "binary_data_size"),
        (None, 784, None, "binary_data_size"),
        (784, 784, "x", HEADER),
        (784, 784, "-1", HEADER),
        (784, 784, 10**6, HEADER),
        (784, 784, 3, "JSON"),
    ],
)
def test_wrong_sizes_are_refused(client, size, byte_count, length, word):
    head = {"inputs": [tensor(np.zeros((1, 784)), parameters={"binary_data_size": size})]}
    assert_error(send_bytes(client, head, bytes(byte_count), length), 400, word)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "truncated"),
        (b"\x01", "truncated"),
        (b"\x02\0\0\0x", "truncated"),
        (b"\xff\xff\xff\xffx", "truncated"),
        (bytes(8), "more than the 1 elements"),
    ],
)
def test_elements_that_are_cut_off_or_too_many_are_refused(client, content, word):
    size = {"binary_data_size": len(content)}
    head = {"inputs": [tensor([0], "BYTES", parameters=size)]}
    assert_error(send_bytes(client, head, content), 400, word)


def test_what_is_no_image_is_refused_with_its_number(client, seven):
    good, bad = base64.b64encode(seven).decode(), base64.b64encode(b"hello").decode()
    payload = {"inputs": [tensor([0, 0], "BYTES", data=[good, bad])]}
    assert_error(client.post(INFER, json=payload), 415, "Image 1")
    payload = {"inputs": [tensor([0], "BYTES", data=["%%%"])]}
    assert_error(client.post(INFER, json=payload), 422, "base64")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/nothing", 404),
        ("POST", "/v2/models/other/infer", 404),
        ("GET", INFER, 405),
        ("POST", "/v2", 405),
    ],
)
def test_what_is_not_there_is_refused_in_this_form(client, method, path, status):
    assert_error(client.request(method, path), status)


def test_a_body_that_is_too_large_is_refused_in_this_form(client, settings):
    assert_error(client.post(INFER, content=bytes(settings.max_body_bytes + 1)), 413)


@pytest.mark.read_only(False)
def test_a_full_queue_and_a_defect_are_told_in_this_form(client, digits, monkeypatch):
    predictor = client.app_state["services"].predictor
    payload = {"inputs": [as_json(digits)]}
    predictor.in_flight = predictor.settings.max_queue
    answer = client.post(INFER, json=payload)
    assert_error(answer, 429, "in flight")
    assert answer.headers["retry-after"] == "1"
    predictor.in_flight = 0
    monkeypatch.setattr(predictor, "predict_pixels", None)
    assert_error(client.post(INFER, json=payload), 500, "unexpected error")


@pytest.mark.read_only(False)
def test_a_draining_service_is_not_ready(client):
    client.app_state["services"].draining.set()
    for path in ("/v2/health/ready", "/v2/models/mynet/ready"):
        assert_error(client.get(path), 503, "draining")
