"""The Open Inference Protocol as the client speaks it that is made from its own description."""

import base64

import httpx
import pytest
from open_inference.openapi import BadRequestError, InferenceRequest, NotFoundError
from open_inference.openapi.client import OpenInferenceClient


@pytest.fixture(scope="module")
def client(address):
    with httpx.Client(timeout=120) as connections:
        yield OpenInferenceClient(base_url=address, httpx_client=connections)


def inference_request(shape, datatype, data, **options):
    tensor = {"name": "image", "shape": shape, "datatype": datatype, "data": data}
    return InferenceRequest(inputs=[tensor], **options)


def values(answer, name):
    (output,) = [output for output in answer.outputs if output.name == name]
    return output.data.dict()["__root__"]


def test_it_sees_a_server_and_a_model(client):
    client.check_server_liveness()
    client.check_server_readiness()
    client.check_model_readiness("mynet")
    client.check_model_version_readiness("mynet", "1")
    with pytest.raises(NotFoundError):
        client.check_model_readiness("other")
    with pytest.raises(NotFoundError):
        client.check_model_version_readiness("mynet", "99")


def test_it_reads_what_there_is(client):
    server = client.read_server_metadata()
    assert (server.name, server.extensions) == ("mynet", ["binary_tensor_data"])
    model = client.read_model_metadata("mynet")
    assert [(tensor.name, tensor.datatype) for tensor in model.inputs] == [("image", "UINT8")]
    assert [tensor.name for tensor in model.outputs] == ["digit", "probabilities"]
    assert client.read_model_version_metadata("mynet", "1").versions == model.versions


@pytest.mark.parametrize("datatype", ["UINT8", "FP32"])
def test_its_pixels_are_read(client, digits, datatype):
    pixels = digits if datatype == "UINT8" else digits / 255
    request = inference_request([4, 28, 28], datatype, pixels.ravel().tolist(), id="mine")
    answer = client.model_infer("mynet", request=request)
    assert (answer.id, answer.model_name) == ("mine", "mynet")
    assert values(answer, "digit") == [7, 2, 1, 0]
    assert len(values(answer, "probabilities")) == 40


def test_its_encoded_images_are_read_by_a_version(client, seven):
    request = inference_request(
        [1], "BYTES", [base64.b64encode(seven).decode()], outputs=[{"name": "digit"}]
    )
    answer = client.model_version_infer("mynet", "1", request=request)
    assert (answer.model_version, values(answer, "digit")) == ("1", [7])
    assert [output.name for output in answer.outputs] == ["digit"]


def test_it_reads_refusals(client):
    with pytest.raises(BadRequestError) as error:
        client.model_infer("mynet", request=inference_request([1, 784], "UINT8", [0]))
    assert "error" in error.value.body
