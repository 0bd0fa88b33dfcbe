"""The spans of requests, as an exporter gets them."""

import base64
import json

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from app.main import configure_logs, create_app
from tests.conftest import png

spans = pytest.importorskip("app.telemetry.otel")
memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACE_HEADERS = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
STAGES = ["queue", "decode", "normalise", "forward"]


@pytest.fixture
def ask(settings, monkeypatch):
    """Ask the service, and give the answer with the spans of it."""
    monkeypatch.setattr(spans, "SHUTDOWN_TIMEOUT", 120)  # none is lost on a busy machine

    def ask(method, path, **request):
        exporter = memory.InMemorySpanExporter()
        traces = spans.Spans([exporter])
        configure_logs(settings, traces)  # as `mynet serve` does
        app = create_app(settings, traces)
        with TestClient(app, raise_server_exceptions=False) as client:
            answer = client.request(method, path, **request)
        return answer, exporter.get_finished_spans()

    return ask


def photo():
    image = Image.new("L", (400, 400), 255)
    image.paste(0, (180, 60, 220, 340))
    return png(np.asarray(image))


def test_a_request_joins_the_trace_of_its_sender(ask, seven):
    headers = {**TRACE_HEADERS, "X-Request-ID": "a-1"}
    answer, trace_spans = ask("POST", "/predict", content=seven, headers=headers)
    *_, request = trace_spans
    assert (request.name, request.kind.name) == ("POST /predict", "SERVER")
    assert f"{request.context.trace_id:032x}" == TRACE
    assert f"{request.parent.span_id:016x}" == PARENT
    expected = {
        "http.request.method": "POST",
        "http.route": "/predict",
        "http.response.status_code": 200,
        "url.path": "/predict",
        "mynet.request_id": "a-1",
        "mynet.version": answer.json()["version"],
    }
    assert {name: request.attributes[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("path", "request_of"),
    [
        ("/predict", lambda upload: {"content": upload}),
        ("/predict", lambda upload: {"files": {"file": upload}}),
        ("/predict", lambda upload: {"json": {"image": base64.b64encode(upload).decode()}}),
        ("/predict", lambda _: {"content": photo()}),
        ("/predict?explain=true&version=1", lambda upload: {"content": upload}),
        ("/invocations", lambda upload: {"content": upload}),
    ],
)
def test_a_prediction_consists_of_its_stages(ask, seven, path, request_of):
    answer, trace_spans = ask("POST", path, **request_of(seven))
    *stages, request = trace_spans
    assert answer.status_code == 200
    assert [span.name for span in stages] == STAGES
    assert {span.parent.span_id for span in stages} == {request.context.span_id}
    assert all(span.start_time <= span.end_time for span in stages)
    begins = [span.start_time for span in (request, *stages)]
    assert begins == sorted(begins)
    assert dict(stages[-1].attributes) == {"mynet.images": 1, "mynet.version": 1}


def test_a_refusal_is_no_error_of_the_service(ask):
    answer, (request,) = ask("POST", "/predict", content=b"no image")
    assert answer.status_code == request.attributes["http.response.status_code"] == 415
    assert request.status.is_ok or request.status.is_unset


def test_a_defect_is_one(ask, seven, monkeypatch):
    def fail(*_):
        raise ValueError("broken")

    monkeypatch.setattr("app.api.routes.predict.prediction_fields", fail)
    _, trace_spans = ask("POST", "/predict", content=seven)
    assert trace_spans[-1].status.status_code.name == "ERROR"


@pytest.mark.parametrize(
    "variable", ["OTEL_PYTHON_EXCLUDED_URLS", "OTEL_PYTHON_FASTAPI_EXCLUDED_URLS"]
)
def test_some_routes_can_be_left_out(ask, monkeypatch, variable):
    assert [span.name for span in ask("GET", "/health/live")[1]] == ["GET /health/live"]
    monkeypatch.setenv(variable, "/metrics$, /health/.*")
    assert ask("GET", "/health/live")[1] == ()
    assert [span.name for span in ask("GET", "/models")[1]] == ["GET /models"]


def test_the_service_names_itself_unless_it_is_named(ask, monkeypatch):
    _, (span,) = ask("GET", "/health/live")
    assert span.resource.attributes["service.name"] == "mynet"
    assert span.resource.attributes["service.version"]
    monkeypatch.setenv("OTEL_SERVICE_NAME", "digits")
    _, (span,) = ask("GET", "/health/live")
    assert span.resource.attributes["service.name"] == "digits"


def test_json_lines_name_the_span_that_they_belong_to(ask, settings, seven, capsys):
    log_settings = {"log_level": "info", "log_format": "json"}
    settings.__dict__.update(log_settings)
    _, trace_spans = ask("POST", "/predict", content=seven, headers=TRACE_HEADERS)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (line,) = [line for line in lines if line["logger"] == "app.access"]
    assert line["trace_id"] == TRACE
    assert line["span_id"] == f"{trace_spans[-1].context.span_id:016x}"
    assert line["version"] == 1
