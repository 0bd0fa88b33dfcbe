"""JSON bodies within ten megabytes that would be the work of seconds: they are refused first."""

import base64
import json
from functools import partial

import pytest
from pydantic import ValidationError

from app.api.encoded_images import decode_base64
from app.api.protocols.kserve_v1 import Instances
from app.api.protocols.tensors import Inference
from app.api.request_body import (
    MAX_JSON_ESCAPES,
    MAX_JSON_TOKENS,
    ImageBody,
    parse,
    parse_or_400,
)
from app.config.settings import Settings
from app.errors import MalformedRequest
from app.net import PIXELS, SIDE

MANY = MAX_JSON_TOKENS + 1
INPUT = {"name": "image", "datatype": "UINT8", "shape": [1, 784], "data": [0] * 784}
LONG = {
    "lists": (Instances, {"instances": [[]] * MANY}),
    "nested_lists": (Instances, {"instances": [[[]] * MANY]}),
    "objects": (Instances, {"instances": [[{}] * MANY]}),
    "fields": (ImageBody, {str(n): 0 for n in range(MANY)}),
    "parameters": (Inference, {"parameters": {str(n): 0 for n in range(MANY)}, "inputs": []}),
    "inputs": (Inference, {"inputs": [INPUT | {"data": []}] * (MANY // 6)}),
}


@pytest.fixture
def fail_on_parse(monkeypatch):
    """Fail whatever is read."""

    def fail(*_):
        raise AssertionError("it was read")

    for model in (Instances, ImageBody, Inference):
        monkeypatch.setattr(model, "model_validate_json", fail)


@pytest.mark.usefixtures("fail_on_parse")
@pytest.mark.parametrize(("model", "payload"), LONG.values(), ids=LONG)
@pytest.mark.parametrize("read", [parse, partial(parse_or_400, max_images=1000)])
def test_what_python_makes_slowly_is_counted_before_it_is_made(read, model, payload):
    with pytest.raises(MalformedRequest, match="lists, objects and fields"):
        read(model, json.dumps(payload).encode())


def test_as_many_images_as_can_be_set_are_within_the_bound():
    (bound,) = (
        constraint.le for constraint in Settings.model_fields["max_batch_files"].metadata[1:]
    )
    rows = [[[0] * SIDE] * SIDE] * bound
    body = json.dumps({"instances": rows}).encode()
    assert parse_or_400(Instances, body, bound).instances == rows
    payload = {"inputs": [INPUT | {"shape": [bound, SIDE, SIDE], "data": rows}]}
    assert parse_or_400(Inference, json.dumps(payload).encode(), bound).inputs[0].data == rows


IMAGES = 3
VALUES = [1] * (IMAGES * PIXELS + MAX_JSON_TOKENS + 2)
MANY_VALUES = {
    "instances": (Instances, {"instances": VALUES}, "values"),
    "data": (Inference, {"inputs": [INPUT | {"data": VALUES}]}, "values"),
    "shape": (Inference, {"inputs": [INPUT | {"shape": VALUES}]}, "values"),
    "strings": (Inference, {"inputs": [INPUT | {"data": [""] * len(VALUES)}]}, "values"),
    "escapes": (Instances, {"instances": ["\u4e00" * (MAX_JSON_ESCAPES + 1)]}, "escapes"),
}


@pytest.mark.usefixtures("fail_on_parse")
@pytest.mark.parametrize(("model", "payload", "unit"), MANY_VALUES.values(), ids=MANY_VALUES)
def test_parse_of_more_values_than_the_images_need_is_refused_unread(model, payload, unit):
    with pytest.raises(MalformedRequest, match=rf"more than [\d,]+ {unit}"):
        parse_or_400(model, json.dumps(payload).encode(), IMAGES)


def test_parse_of_an_image_with_many_ignored_values_is_refused():
    payload = {"image": "", "ignored": VALUES}
    with pytest.raises(MalformedRequest, match="more than 100,000 values"):
        parse(ImageBody, json.dumps(payload).encode())


def test_shape_of_many_dimensions_is_refused_by_their_number():
    payload = {"inputs": [INPUT | {"shape": [1] * 10_000}]}
    with pytest.raises(MalformedRequest, match=r"shape: List should have at most 8 items"):
        parse_or_400(Inference, json.dumps(payload).encode(), IMAGES)


def test_image_whose_base64_is_escaped_and_wrapped_is_within_the_bound():
    """As PHP writes it: json_encode escapes slashes, chunk_split ends lines with CRLF."""
    content = bytes(range(256)) * 29_000
    text = base64.encodebytes(content).decode().replace("\n", "\r\n")
    body = json.dumps({"image": text}).replace("/", "\\/").encode()
    assert len(body) > Settings.model_fields["max_body_bytes"].default
    assert decode_base64(parse(ImageBody, body).image, "image") == content


@pytest.mark.parametrize(
    "payload",
    [
        {"inputs": [1] * 1000},
        {"inputs": [INPUT | {"shape": [""] * 1000}] * 2},
        {"inputs": [INPUT], "outputs": [1] * 1000},
    ],
)
def test_of_wrong_elements_one_is_told(payload):
    with pytest.raises(ValidationError) as error:
        Inference.model_validate_json(json.dumps(payload))
    assert error.value.error_count() == 1


def test_what_was_sent_is_not_brought_along_with_what_is_wrong(monkeypatch):
    reported_errors = []
    monkeypatch.setattr(
        "app.api.request_body.invalid", lambda errors: reported_errors.extend(errors) or KeyError()
    )
    with pytest.raises(KeyError):
        parse(ImageBody, json.dumps({"image": [0] * 1000}).encode())
    assert [sorted(error) for error in reported_errors] == [["loc", "msg", "type"]]
