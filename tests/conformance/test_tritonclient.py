"""The Open Inference Protocol as the Triton project's own client speaks it."""

import re

import numpy as np
import pytest
import tritonclient.http as http

from tests.conformance.conftest import ROOT


@pytest.fixture(scope="module")
def triton(service):
    with http.InferenceServerClient(f"127.0.0.1:{service.port}") as client:
        yield client


def infer_inputs(values, datatype, *, binary=True):
    tensor = http.InferInput("image", list(values.shape), datatype)
    return [tensor.set_data_from_numpy(values, binary_data=binary)]


def test_it_sees_a_server_and_a_model(triton):
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready("mynet")
    assert triton.is_model_ready("mynet", "1")
    assert not triton.is_model_ready("mynet", "99")
    assert not triton.is_model_ready("other")
    assert "binary_tensor_data" in triton.get_server_metadata()["extensions"]
    assert triton.get_model_metadata("mynet")["inputs"][0]["name"] == "image"


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("flat", [True, False])
@pytest.mark.parametrize("datatype", ["UINT8", "FP32"])
def test_its_pixels_are_read(triton, digits, datatype, flat, binary):
    values = digits if datatype == "UINT8" else (digits / 255).astype(np.float32)
    values = values.reshape(4, 784) if flat else values
    answer = triton.infer("mynet", infer_inputs(values, datatype, binary=binary), request_id="mine")
    assert answer.as_numpy("digit").tolist() == [7, 2, 1, 0]
    assert answer.as_numpy("probabilities").shape == (4, 10)
    assert answer.get_response()["id"] == "mine"


def test_its_encoded_images_are_read_by_a_version(triton, seven):
    values = np.array([seven, seven], np.object_)
    answer = triton.infer("mynet", infer_inputs(values, "BYTES"), model_version="1")
    assert answer.as_numpy("digit").tolist() == [7, 7]


@pytest.mark.parametrize("binary", [True, False])
def test_it_chooses_outputs(triton, digits, binary):
    requested_outputs = [http.InferRequestedOutput("digit", binary_data=binary)]
    answer = triton.infer("mynet", infer_inputs(digits, "UINT8"), outputs=requested_outputs)
    assert answer.as_numpy("digit").tolist() == [7, 2, 1, 0]
    assert answer.as_numpy("probabilities") is None


def test_it_reads_refusals(triton, digits):
    with pytest.raises(http.InferenceServerException, match="from 0"):
        triton.infer("mynet", infer_inputs(digits.astype(np.float32), "FP32"))
    with pytest.raises(http.InferenceServerException, match="No route matches"):
        triton.infer("other", infer_inputs(digits, "UINT8"))


def test_the_documented_example_runs(service, monkeypatch):
    document = (ROOT / "docs/reference/protocols.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```", document, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(ROOT)
    exec(example.replace("localhost:8000", f"127.0.0.1:{service.port}"), {})
