"""There are traces where the environment asks for them, and nothing of theirs where it does not."""

import os
import subprocess
import sys

import pytest

from app.telemetry import tracing_setup

UNREACHABLE_EXPORTER = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


TRACING_OFF = [
    {},
    {"OTEL_SERVICE_NAME": "digits"},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
    {**UNREACHABLE_EXPORTER, "OTEL_SDK_DISABLED": "true"},
    {**UNREACHABLE_EXPORTER, "OTEL_TRACES_EXPORTER": "none"},
]


@pytest.mark.parametrize("environment", TRACING_OFF)
def test_there_is_nothing_where_nothing_is_asked_for(monkeypatch, environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert tracing_setup.begin() is None


def test_nothing_is_loaded_then(settings):
    code = (
        "import sys, app.main, app.train.worker.main; app.main.create_app(); "
        "ours = ('opentelemetry.sdk', 'opentelemetry.exporter', 'app.telemetry.otel'); "
        "print([name for name in sys.modules if name.startswith(ours)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "MYNET_STATE_DIR": str(settings.state_dir)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_without_the_extra_a_line_says_what_is_missing(monkeypatch, caplog):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:9/v1/traces")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.delitem(sys.modules, "app.telemetry.otel", raising=False)
    monkeypatch.delattr("app.telemetry.otel", raising=False)
    assert tracing_setup.begin() is None
    assert "pip install '.[otel]'" in caplog.text


def test_an_exporter_that_is_not_there_is_named(monkeypatch, caplog):
    pytest.importorskip("opentelemetry.sdk")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "carrier_pigeon")
    assert tracing_setup.begin() is None
    assert "'carrier_pigeon' does not exist. Set OTEL_TRACES_EXPORTER to one of:" in caplog.text


@pytest.mark.parametrize(
    "environment",
    [
        {"OTEL_TRACES_EXPORTER": "console"},
        UNREACHABLE_EXPORTER,
        {"OTEL_TRACES_EXPORTER": "otlp, console"},
    ],
)
def test_what_the_environment_asks_for_begins(monkeypatch, environment):
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    traces = tracing_setup.begin()
    assert traces is not None
    assert traces.ids() == {}, "no span is current"
    traces.close()
