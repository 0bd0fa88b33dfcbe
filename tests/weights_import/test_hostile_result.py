"""Results of an import worker that a file has taken over: refused in words, nothing is stored."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from app.torch_net import MyNet
from app.weights_import import parent
from app.weights_import.messages import MAX_DETAIL, MAX_WEIGHTS_BYTES
from tests.weights_import import stub

STATE = MyNet().state_dict()
RESULT = stub.result_of()
METRICS = RESULT["metrics"]
LINES = {
    "no_json": "print('loaded')",
    "a_version": "print('{\"version\": 1}')",
    "unknown_code": 'print(\'{"code": "not_found", "detail": "x"}\')',
    "long_detail": f"print(json.dumps({{'code': 'not_ready', 'detail': 'x' * {MAX_DETAIL + 1}}}))",
    "line_without_end": "sys.stdout.write('x' * 2**20); sys.stdout.flush(); time.sleep(60)",
    "weights_of_gigabytes": stub.code_for(RESULT | {"weights_bytes": MAX_WEIGHTS_BYTES + 1}),
    "weights_that_end_early": stub.code_for(RESULT | {"weights_bytes": MAX_WEIGHTS_BYTES}),
    "wrapper_of_markup": stub.code_for(RESULT | {"wrappers": ["<script>"]}),
    "many_wrappers": stub.code_for(RESULT | {"wrappers": ["model."] * 100}),
    "no_digest": stub.code_for(RESULT | {"data_digest": "<script>"}),
}
WRONG_METRICS = {
    "accuracy_above_one": {"test_accuracy": 1.5},
    "infinite_loss": {"test_loss": "Infinity"},
    "confusion_of_two_digits": {"confusion": [[1, 2], [3, 4]]},
    "count_of_many_digits": {"confusion": [[10**400] * 10] * 10},
    "negative_count": {"confusion": [[-1] * 10] * 10},
    "temperature_of_zero": {"temperature": 0},
}
WRONG_WEIGHTS = {
    "no_safetensors": b"x" * 100,
    "names": safetensors.torch.save({"fc1.weight": torch.zeros(1)}),
    "shapes": safetensors.torch.save(STATE | {"fc4.bias": torch.zeros(11)}),
    "types": safetensors.torch.save({name: tensor.half() for name, tensor in STATE.items()}),
    "not_finite": safetensors.torch.save(STATE | {"fc4.bias": torch.full((10,), torch.nan)}),
}


def assert_refused(client, monkeypatch, code):
    monkeypatch.setattr(parent, "COMMAND", stub.command_for(code))
    answer = client.post("/models", content=b"weights")
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request"), answer.text
    assert "returned an invalid result. Send the weights as" in answer.json()["detail"]
    assert [card["version"] for card in client.get("/models").json()["data"]] == [1]


@pytest.mark.read_only
@pytest.mark.parametrize("code", LINES.values(), ids=LINES)
def test_upload_with_an_impossible_result_is_refused(client, monkeypatch, code):
    assert_refused(client, monkeypatch, code)


@pytest.mark.read_only
@pytest.mark.parametrize("changes", WRONG_METRICS.values(), ids=WRONG_METRICS)
def test_upload_with_impossible_metrics_is_refused(client, monkeypatch, changes):
    assert_refused(client, monkeypatch, stub.code_for(RESULT | {"metrics": METRICS | changes}))


@pytest.mark.read_only
@pytest.mark.parametrize("content", WRONG_WEIGHTS.values(), ids=WRONG_WEIGHTS)
def test_upload_with_invalid_weights_in_the_result_is_refused(
    client, monkeypatch, tmp_path, content
):
    path = tmp_path / "returned"
    path.write_bytes(content)
    assert_refused(client, monkeypatch, stub.code_for(stub.result_of(path), path))


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is a call of Linux")
def test_worker_gains_no_privileges_by_starting_programs():
    code = (
        "from app.sandbox import limits; limits.forbid_new_privileges(); "
        "import os; os.execvp('grep', ['grep', 'NoNewPrivs', '/proc/self/status'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["NoNewPrivs:", "1"]


def test_environment_of_the_real_worker_is_the_allowlist(monkeypatch):
    """Read what the kernel says about the process itself, which no stub replaces."""
    monkeypatch.setenv("MYNET_ADMIN_KEY", "secret-of-the-admin")
    if not Path("/proc/self/environ").exists():
        pytest.skip("the system has no /proc")

    async def environment():
        async with parent._import_process() as process:
            return Path(f"/proc/{process.pid}/environ").read_bytes()

    names = {line.partition(b"=")[0] for line in asyncio.run(environment()).split(b"\0") if line}
    assert b"PATH" in names
    assert {os.fsdecode(name) for name in names} <= {
        *parent.allowed_environment(),
        "OMP_WAIT_POLICY",
    }
    assert b"MYNET_ADMIN_KEY" not in names
