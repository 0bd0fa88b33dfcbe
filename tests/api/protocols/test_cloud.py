"""SageMaker's routes and start, Vertex AI's variables."""

import os
import shutil
import subprocess

import pytest
from starlette.testclient import TestClient

from app.config.settings import Settings, SettingsError, load_settings
from app.main import create_app
from app.versions.registry import SHIPPED
from tests.api.routes.test_predict import PREDICTION, data_url
from tests.conftest import ROOT

SERVE = ROOT / "deploy/serve"


@pytest.mark.read_only
@pytest.mark.parametrize("kind", ["image/png", "application/x-image", "application/octet-stream"])
def test_sagemaker_sends_images(client, seven, kind):
    answer = client.post("/invocations", content=seven, headers={"content-type": kind})
    assert (answer.json()["digit"], set(answer.json())) == (7, PREDICTION)


@pytest.mark.read_only
def test_sagemaker_sends_json(client, seven):
    assert client.post("/invocations", json={"image": data_url(seven)}).json()["digit"] == 7
    assert client.post("/invocations", json={"image": "%"}).status_code == 422


def test_predictions_are_open_where_changes_are_not(settings, seven):
    settings = settings.model_copy(update={"auth": "predict"})
    text = {"instances": [data_url(seven)]}
    with TestClient(create_app(settings)) as client:
        assert client.post("/invocations", content=seven).status_code == 200
        assert client.post("/v1/models/mynet:predict", json=text).status_code == 200
        assert client.get("/v2/models/mynet").status_code == 200
        assert client.post("/train").status_code == 401


def test_sagemaker_pings(client):
    assert client.get("/ping").status_code == 200
    client.app_state["services"].draining.set()
    answer = client.get("/ping")
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")


def start(tmp_path, **environment):
    """Run the script with a `mynet` that shows what it was started with."""
    mynet = tmp_path / "mynet"
    mynet.write_text('#!/bin/sh\necho "$@"; env\n')
    mynet.chmod(0o755)
    path = {"PATH": f"{tmp_path}:{os.defpath}"}
    done = subprocess.run(
        [SERVE, "serve"],
        env=path | environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    called, *lines = done.stdout.splitlines()
    assert called == "serve"
    return dict(line.split("=", 1) for line in lines if line.startswith("MYNET_"))


def test_sagemaker_starts_the_service_on_its_port(tmp_path):
    (tmp_path / "var").mkdir()
    plain = {"MYNET_PORT": "8080", "MYNET_HOST": "0.0.0.0", "MYNET_AUTH": "predict"}
    assert start(tmp_path) == plain
    assert start(tmp_path, SAGEMAKER_BIND_TO_PORT="8085") == plain | {"MYNET_PORT": "8085"}
    chosen = {"MYNET_PORT": "9000", "MYNET_HOST": "::", "MYNET_AUTH": "none"}
    assert start(tmp_path, **chosen) == chosen


def test_sagemaker_may_run_it_as_someone_who_cannot_write_there(tmp_path):
    state = start(tmp_path, TMPDIR=str(tmp_path), MYNET_STATE_DIR="nowhere")["MYNET_STATE_DIR"]
    assert os.path.dirname(state) == str(tmp_path)


@pytest.fixture
def vertex(monkeypatch, tmp_path):
    """Its variables, with the paths that other containers' examples use."""
    shutil.copy(SHIPPED / "documented.safetensors", tmp_path / "given.safetensors")
    variables = {
        "AIP_HTTP_PORT": "8080",
        "AIP_HEALTH_ROUTE": "/health",
        "AIP_PREDICT_ROUTE": "/predict",
        "AIP_STORAGE_URI": str(tmp_path),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_vertex_is_listened_to(vertex):
    settings = load_settings()
    assert (settings.port, settings.health_route, settings.predict_route) == (
        8080,
        "/health",
        "/predict",
    )
    assert settings.checkpoint == vertex / "given.safetensors"


def test_what_is_said_to_mynet_wins(vertex, monkeypatch):
    monkeypatch.setenv("MYNET_PORT", "9000")
    (vertex / ".env").write_text("MYNET_PREDICT_ROUTE=/read\n")
    settings = load_settings()
    assert (settings.port, settings.predict_route) == (9000, "/read")


@pytest.mark.parametrize("uri", ["", "gs://bucket/model"])
def test_an_address_elsewhere_is_passed_over(vertex, monkeypatch, uri):  # noqa: ARG001
    monkeypatch.setenv("AIP_STORAGE_URI", uri)
    assert load_settings().checkpoint is None


def test_a_file_is_a_checkpoint(vertex, monkeypatch):
    file = vertex / "given.safetensors"
    monkeypatch.setenv("AIP_STORAGE_URI", f"file://{file}")
    assert load_settings().checkpoint == file


def test_two_checkpoints_are_none(vertex):
    shutil.copy(vertex / "given.safetensors", vertex / "more.safetensors")
    with pytest.raises(SettingsError, match=r"AIP_STORAGE_URI.*given.*more"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [("AIP_HTTP_PORT", "x"), ("AIP_HEALTH_ROUTE", "health"), ("AIP_PREDICT_ROUTE", "/{x}")],
)
def test_bad_variables_are_named(vertex, monkeypatch, name, value):  # noqa: ARG001
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        load_settings()


@pytest.mark.parametrize("route", ["/predict", "/v1/endpoints/1/deployedModels/2:predict"])
def test_vertex_asks_on_its_routes(settings: Settings, seven, route):
    settings = settings.model_copy(update={"predict_route": route, "health_route": "/health"})
    with TestClient(create_app(settings)) as client:
        assert client.get("/health").json()["status"] == "ready"
        answer = client.post(route, json={"instances": [data_url(seven)], "parameters": {}})
        assert [prediction["digit"] for prediction in answer.json()["predictions"]] == [7]
        assert client.post(route, json={}).status_code == 400
        assert ("express" in client.app_state) is (route != "/predict")
