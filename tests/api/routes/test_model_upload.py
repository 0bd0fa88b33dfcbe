"""`POST /models`, with the process that appraises."""

import json
import sys
from io import BytesIO

import pytest
import safetensors.torch
import torch

from app.torch_net import MyNet, weights_of
from app.versions import checkpoint
from app.weights_import import parent
from tests.weights_import import stub

FORM = {"content-type": "application/x-www-form-urlencoded"}


def pt(weights):
    buffer = BytesIO()
    torch.save(weights, buffer)
    return buffer.getvalue()


@pytest.fixture
def fake_import(monkeypatch):
    """Answer for the import worker, to see what reaches it without what it loads."""

    def fake_import(**result):
        # The server ends the process once it has the result.
        report = "sys.stderr.write(open(request['path']).read()); sys.stderr.flush(); "
        code = stub.code_for(stub.result_of())
        if result:
            code = f"print({json.dumps(result)!r})"
        monkeypatch.setattr(parent, "COMMAND", stub.command_for(report + code))

    return fake_import


def test_an_upload_becomes_a_version_and_does_not_go_live(client, seven):
    net = MyNet()
    answer = client.post("/models?note=mine", content=pt(net.state_dict()), headers=FORM)
    assert (answer.status_code, answer.headers["location"]) == (201, "/models/2")
    card = answer.json()
    assert (card["version"], card["origin"], card["note"]) == (2, "uploaded", "mine")
    assert card["weights_digest"] == checkpoint.digest(weights_of(net))
    assert card == client.get("/models/2").json()
    assert sum(map(sum, card["confusion"])) == 10_000
    assert client.get("/models").json()["current"] == 1
    assert client.post("/predict?version=2", content=seven).json()["version"] == 2
    assert client.put("/models/current", json={"version": 2}).status_code == 200


def test_a_file_in_a_form_that_is_not_mynets_is_told_what_would_be_right(client, settings):
    other = safetensors.torch.save({"fc1.weight": torch.zeros(1)})
    answer = client.post("/models", files={"file": ("mynet.pt", other)})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_field")
    assert answer.json()["errors"][0]["field"] == "file"
    assert "its names are ['fc1.weight']; MyNet's are ['fc1.bias'," in answer.json()["detail"]
    assert [path.name for path in settings.uploads_dir.glob(".*.tmp")] == []


@pytest.mark.parametrize(
    "body",
    [
        {"content": b"weights"},
        {"content": b"weights", "headers": FORM},
        {"content": b"weights", "headers": {"content-type": "application/json"}},
        {"content": b"weights", "headers": {"content-type": "image/png"}},
        {"files": {"file": ("anything.png", b"weights")}},
    ],
)
def test_the_body_may_be_sent_in_any_form(client, fake_import, capfd, body):
    fake_import()
    answer = client.post("/models", **body)
    assert (answer.status_code, answer.headers["location"]) == (201, "/models/2")
    assert capfd.readouterr().err == "weights"


@pytest.mark.read_only
@pytest.mark.parametrize(
    ("body", "status", "code", "message"),
    [
        ({"content": b""}, 400, "malformed_request", "The body is empty. Send a .safetensors"),
        ({"files": {"file": ("x", b"")}}, 400, "malformed_request", "The body is empty"),
        ({"files": {"weights": ("x", b"x")}}, 422, "invalid_field", "file is missing"),
        ({"content": b"x", "params": {"note": "x" * 1001}}, 422, "invalid_field", "note"),
    ],
)
def test_a_request_that_holds_no_file_is_refused(client, body, status, code, message):
    answer = client.post("/models", **body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert message in answer.json()["detail"]


@pytest.mark.read_only
@pytest.mark.parametrize(
    ("code", "status"), [("malformed_request", 400), ("invalid_field", 422), ("not_ready", 503)]
)
def test_what_is_refused_there_is_refused_here(client, fake_import, code, status):
    fake_import(code=code, detail="MNIST could not be read")
    answer = client.post("/models", content=b"weights")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["detail"] == "MNIST could not be read"


@pytest.mark.read_only
def test_a_process_that_dies_is_a_503_with_a_time(client, monkeypatch):
    monkeypatch.setattr(parent, "COMMAND", (sys.executable, "-c", "import os; os.abort()"))
    answer = client.post("/models", content=b"weights")
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    assert "exit code -6" in answer.json()["detail"]
    assert int(answer.headers["retry-after"]) >= 1
