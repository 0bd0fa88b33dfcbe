"""KServe V1 and the Open Inference Protocol as KServe's own client speaks them."""

import asyncio
import base64

import httpx
import numpy as np
import pytest
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput


@pytest.fixture
def ask(address):
    """Call a method of the client, which is asynchronous."""

    def ask(protocol, method, *args, **kwargs):
        async def call():
            async with InferenceRESTClient(RESTConfig(protocol=protocol, retries=0)) as client:
                return await getattr(client, method)(address, *args, **kwargs)

        return asyncio.run(call())

    return ask


def request(values, datatype, *, binary, **options):
    tensor = InferInput("image", list(values.shape), datatype)
    tensor.set_data_from_numpy(values, binary_data=binary)
    return InferRequest("mynet", [tensor], **options)


def outputs(response):
    return {output.name: output.as_numpy() for output in response.outputs}


def test_it_sees_a_server_and_a_model(ask):
    assert ask("v2", "is_server_ready") is True
    assert ask("v2", "is_server_live") is True
    assert ask("v2", "is_model_ready", "mynet") is True
    assert ask("v2", "is_model_ready", "other") is False
    assert ask("v1", "is_model_ready", "mynet") is True
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        ask("v1", "is_model_ready", "other")


@pytest.mark.parametrize("flat", [True, False])
def test_v1_reads_pixels(ask, digits, flat):
    instances = digits.reshape(4, 784) if flat else digits
    answer = ask("v1", "infer", {"instances": instances.tolist()}, model_name="mynet")
    assert [prediction["digit"] for prediction in answer["predictions"]] == [7, 2, 1, 0]


def test_v1_reads_encoded_images(ask, seven):
    text = base64.b64encode(seven).decode()
    answer = ask("v1", "infer", {"instances": [text, {"b64": text}]}, model_name="mynet")
    assert [prediction["digit"] for prediction in answer["predictions"]] == [7, 7]


@pytest.mark.parametrize("binary_answer", [True, False])
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("datatype", ["UINT8", "FP32"])
def test_v2_reads_pixels(ask, digits, datatype, binary, binary_answer):
    values = digits if datatype == "UINT8" else (digits / 255).astype(np.float32)
    options = {"request_id": "mine", "parameters": {"binary_data_output": binary_answer}}
    infer_request = request(values, datatype, binary=binary, **options)
    answer = ask("v2", "infer", infer_request, model_name="mynet")
    assert (answer.id, answer.model_name) == ("mine", "mynet")
    assert outputs(answer)["digit"].tolist() == [7, 2, 1, 0]
    assert outputs(answer)["probabilities"].shape == (4, 10)


def test_v2_reads_encoded_images(ask, seven):
    infer_request = request(np.array([seven, seven], np.object_), "BYTES", binary=True)
    assert outputs(ask("v2", "infer", infer_request, model_name="mynet"))["digit"].tolist() == [
        7,
        7,
    ]


@pytest.mark.parametrize("binary", [True, False])
def test_v2_gives_the_outputs_that_are_asked_for(ask, digits, binary):
    requested_outputs = [RequestedOutput("digit", parameters={"binary_data": binary})]
    infer_request = request(digits, "UINT8", binary=True, request_outputs=requested_outputs)
    answer = outputs(ask("v2", "infer", infer_request, model_name="mynet"))
    assert {name: values.tolist() for name, values in answer.items()} == {"digit": [7, 2, 1, 0]}


def test_refusals_are_read(ask, digits):
    infer_request = request(digits.astype(np.float32), "FP32", binary=True)
    with pytest.raises(httpx.HTTPStatusError, match="from 0"):
        ask("v2", "infer", infer_request, model_name="mynet")
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        ask("v2", "infer", infer_request, model_name="other")
    with pytest.raises(httpx.HTTPStatusError, match="instances"):
        ask("v1", "infer", {"instances": []}, model_name="mynet")
