"""Serving without PyTorch: not imported where it is installed, and not needed where it is not.

Two services share a state folder. One has PyTorch, so it trains; the other one has none, as in the
image `predict`.
"""

import base64
import json
import os
import subprocess
import sys
from contextlib import ExitStack
from http.client import HTTPConnection
from io import BytesIO
from pathlib import Path

import pytest
import safetensors.numpy
import torch

from app.versions.registry import SHIPPED
from tests.conftest import ROOT
from tests.service.running import ANSWER_TIMEOUT, MYNET, run_service, wait_until

SHIPPED_FILE = SHIPPED / "documented.safetensors"
TORCHLESS = Path(__file__).parent
SEVEN = (ROOT / "docs" / "images" / "seven.jpg").read_bytes()
SHORT_TRAINING = {"epochs": 1, "batch_size": 100, "promote": "always", "seed": 3}
NEXT_VERSION = len(list(SHIPPED.glob("*.safetensors"))) + 1


def path_without_torch():
    return os.pathsep.join([str(TORCHLESS), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)


def send(service, method, path, body=b"", **headers):
    """Send a request, and return the status and the body of its answer."""
    connection = HTTPConnection("127.0.0.1", service.port, timeout=ANSWER_TIMEOUT)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, content, names)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, content


def send_json(service, method, path, body=b"", **headers):
    status, content = send(service, method, path, body, **headers)
    return status, json.loads(content)


@pytest.fixture(scope="module")
def state(tmp_path_factory):
    return tmp_path_factory.mktemp("torch") / "var"


@pytest.fixture(scope="module")
def torchless(state, small_data_dir):
    """A service in whose processes PyTorch cannot be imported."""
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", path_without_torch())
            service = stack.enter_context(run_service(state, data_dir=small_data_dir))
        yield service


@pytest.fixture(scope="module")
def trainer(torchless, state, small_data_dir):
    """A service that trains, on the same state folder."""
    assert torchless.port
    with run_service(state, data_dir=small_data_dir) as service:
        yield service


def loads_torch(pid):
    """Return whether a process has PyTorch's libraries in memory: any import of it loads them."""
    if not Path("/proc/self/maps").exists():
        pytest.skip("the system has no /proc")
    return "libtorch" in Path(f"/proc/{pid}/maps").read_text()


def predict_in_every_protocol(service, seven):
    """Read a seven by every route that predicts, and yield the digits."""
    encoded = base64.b64encode(SEVEN).decode()
    form = (
        b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n%b\r\n--x--\r\n'
    )
    multipart = {"Content_Type": "multipart/form-data; boundary=x"}
    for image in (seven, SEVEN):
        yield send_json(service, "POST", "/predict", image)[1]["digit"]
    explained = send_json(service, "POST", "/predict?explain=true", SEVEN)[1]
    assert explained["saliency"]
    yield explained["digit"]
    batch = send_json(service, "POST", "/predict/batch", form % SEVEN, **multipart)[1]
    yield batch["predictions"][0]["digit"]
    v1 = {"instances": [{"b64": encoded}]}
    yield send_json(service, "POST", "/v1/models/mynet:predict", v1)[1]["predictions"][0]["digit"]
    tensor = {"name": "image", "shape": [1], "datatype": "BYTES", "data": [encoded]}
    v2 = send_json(service, "POST", "/v2/models/mynet/infer", {"inputs": [tensor]})[1]
    yield v2["outputs"][0]["data"][0]
    head = json.dumps(
        {
            "inputs": [
                {
                    "name": "image",
                    "shape": [1],
                    "datatype": "BYTES",
                    "parameters": {"binary_data_size": len(SEVEN) + 4},
                }
            ],
            "outputs": [{"name": "digit", "parameters": {"binary_data": True}}],
        }
    ).encode()
    body = head + len(SEVEN).to_bytes(4, "little") + SEVEN
    length = {"Inference_Header_Content_Length": str(len(head))}
    yield send(service, "POST", "/v2/models/mynet/infer", body, **length)[1][-8]
    yield send_json(service, "POST", "/invocations", SEVEN)[1]["digit"]


def test_service_without_torch_predicts_in_every_protocol(torchless, seven):
    assert [*predict_in_every_protocol(torchless, seven)] == [7] * 8
    assert torchless.get("/health/ready")["device"] == "cpu"
    assert "this service trains nothing: PyTorch is not installed" in torchless.log.read_text()


def test_service_without_torch_takes_safetensors_and_refuses_a_state_dict_in_words(torchless):
    status, card = send_json(torchless, "POST", "/models", SHIPPED_FILE.read_bytes())
    assert (status, card["origin"], card["torch_version"]) == (201, "uploaded", "")
    _, downloaded = send(torchless, "GET", f"/models/{card['version']}/weights?format=pt")
    assert list(torch.load(BytesIO(downloaded), weights_only=True)) == [
        f"fc{layer}.{name}" for layer in range(1, 5) for name in ("weight", "bias")
    ]
    status, problem = send_json(torchless, "POST", "/models", downloaded)
    assert (status, problem["code"]) == (400, "malformed_request")
    assert "PyTorch is not installed. Send a .safetensors file" in problem["detail"]


@pytest.mark.parametrize("path", ["/train", "/sweeps"])
def test_service_without_torch_refuses_trainings_if_no_other_service_trains(torchless, path):
    status, problem = send_json(torchless, "POST", path, {"epochs": 1})
    assert (status, problem["code"]) == (503, "training_unavailable")
    assert "Start a service that has PyTorch" in problem["detail"]
    assert torchless.get(path)["data"] == []


def test_command_without_torch_refuses_a_training_in_words(torchless, state):
    assert torchless.port
    environment = {
        **os.environ,
        "PYTHONPATH": path_without_torch(),
        "MYNET_STATE_DIR": str(state),
    }
    done = subprocess.run(
        [MYNET, "train", "--epochs", "1"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "No service trains: this one has no PyTorch" in done.stderr


def queues_a_sweep(service):
    """Queue a sweep, and cancel it. Return False if no service trains yet."""
    status, sweep = send_json(service, "POST", "/sweeps", {"epochs": 1})
    if status == 202:
        send(service, "POST", f"/sweeps/{sweep['id']}/cancel")
    return status == 202


def test_training_that_is_queued_without_torch_runs_elsewhere_and_its_version_is_followed(
    torchless, trainer
):
    assert trainer.port
    assert wait_until(lambda: queues_a_sweep(torchless))
    status, job = send_json(torchless, "POST", "/train", SHORT_TRAINING)
    assert status == 202
    job = torchless.job_until(job["id"], lambda body: body["status"] == "succeeded")
    version = job["result"]["version"]
    assert job["result"]["promoted"]
    assert wait_until(lambda: torchless.get("/health/ready")["version"] == version)
    assert not torchless.trainings
    assert send(torchless, "POST", "/models/rollback")[0] == 200
    assert wait_until(lambda: trainer.get("/health/ready")["version"] == NEXT_VERSION - 1)


def test_serving_process_never_imports_torch(trainer, seven):
    """After all that a client can ask of it: predictions, downloads, promotions, a training."""
    assert [*predict_in_every_protocol(trainer, seven)] == [7] * 8
    trainer.text("/metrics")
    for form in ("safetensors", "pt", "onnx"):
        assert send(trainer, "GET", f"/models/1/weights?format={form}")[0] == 200
    trainer.get("/models/1/errors?limit=2")
    weights = safetensors.numpy.load_file(SHIPPED_FILE)
    state_dict = BytesIO()
    torch.save({name: torch.from_numpy(array) for name, array in weights.items()}, state_dict)
    for content in (SHIPPED_FILE.read_bytes(), state_dict.getvalue()):
        assert send(trainer, "POST", "/models", content)[0] == 201
    before = len(trainer.trainings)
    long_training = json.dumps({**SHORT_TRAINING, "epochs": 1000}).encode()
    long_job = trainer.post("/train", long_training)["id"]
    assert wait_until(lambda: len(trainer.trainings) > before)
    assert wait_until(lambda: loads_torch(trainer.trainings[-1])), "the check finds what it is for"
    assert send(trainer, "POST", f"/train/{long_job}/cancel")[0] == 202
    job = trainer.post("/train", json.dumps({**SHORT_TRAINING, "epochs": 3}).encode())["id"]
    trainer.job_until(job, lambda body: body["status"] == "succeeded")
    for version in (1, 2):
        assert send(trainer, "PUT", "/models/current", {"version": version})[0] == 200
    assert send(trainer, "POST", "/models/rollback")[0] == 200
    assert [*predict_in_every_protocol(trainer, seven)] == [7] * 8
    assert not loads_torch(trainer.process.pid)


def test_several_workers_start_without_torch(tmp_path):
    with run_service(tmp_path / "var", workers=2) as service:
        assert len(service.workers) == 2
        assert not any(map(loads_torch, [service.process.pid, *service.workers]))


def test_python_is_hidden_torch_where_the_tests_say_so():
    environment = {**os.environ, "PYTHONPATH": path_without_torch()}
    command = [sys.executable, "-c", "import torch"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert "No module named 'torch'" in done.stderr
