"""Spans arrive at a collector, from the request to the last epoch, and log lines name them."""

import json
from urllib.request import Request, urlopen

import pytest

from tests.service.running import ANSWER_TIMEOUT, run_service, wait_until

pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
from tests.service.telemetry.collector import attributes, run_collector

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACE_HEADERS = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
# All images in one batch: an epoch is quick.
HYPERPARAMETERS = {"epochs": 1, "batch_size": 60000, "promote": "never"}


def post(service, path, body):
    request = Request(f"http://127.0.0.1:{service.port}{path}", body, TRACE_HEADERS)
    with urlopen(request, timeout=ANSWER_TIMEOUT) as answer:
        return json.load(answer)


def has_all(collector, service):
    """Request something, and return whether all have sent spans: two workers, and the training."""
    service.get("/models")  # a connection of its own: sooner or later each worker gets one
    counts = [len(collector.named(name)) for name in ("POST /predict", "POST /train", "train")]
    return counts == [40, 1, 1] and len(instance_ids(collector)) == 3


def instance_ids(collector):
    return {resource["service.instance.id"] for _, resource in [*collector.spans]}


@pytest.fixture
def telemetry(tmp_path, seven, monkeypatch):
    """The spans and log lines of two workers that predicted and trained."""
    with run_collector() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.address)
        with run_service(tmp_path / "var", workers=2, log_format="json") as service:
            assert wait_until(lambda: service.went_live == 2)
            for _ in range(40):
                assert post(service, "/predict", seven)["digit"] == 7
            job = post(service, "/train", json.dumps(HYPERPARAMETERS).encode())["id"]
            service.job_until(job, lambda body: body["status"] == "succeeded")
            assert wait_until(lambda: has_all(collector, service))
            service.end()
            lines = [json.loads(line) for line in service.log.read_text().splitlines()]
        yield collector, lines, job


def test_a_trace_goes_from_the_request_to_the_epochs(telemetry):
    collector, lines, job = telemetry
    assert len(instance_ids(collector)) == 3, "two workers, and the training process"
    assert {resource["service.name"] for _, resource in collector.spans} == {"mynet"}

    predictions = collector.named("POST /predict")
    assert len(predictions) == 40
    for span in predictions:
        assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
        assert attributes(span)["http.response.status_code"] == 200
        stages = [child.name for child in collector.children(span)]
        assert stages == ["queue", "decode", "normalise", "forward"]

    (queued,) = collector.named("POST /train")
    (training,) = collector.children(queued)
    assert (training.name, training.trace_id.hex()) == ("train", TRACE)
    assert attributes(training)["mynet.job_id"] == job
    epoch, *others = collector.children(training)
    assert (epoch.name, attributes(epoch)["mynet.epoch"]) == ("epoch", 0)
    assert {"mynet.train_loss", "mynet.test_accuracy"} <= set(attributes(epoch))
    assert [span.name for span in others] == ["evaluate", "store", "promote"]

    access = [line for line in lines if line["logger"] == "app.access"]
    prediction_lines = [line for line in access if "/predict" in line["message"]]
    assert {line["version"] for line in prediction_lines} == {2}
    assert {line["trace_id"] for line in prediction_lines} == {TRACE}
    assert {line["span_id"] for line in prediction_lines} == {
        span.span_id.hex() for span in predictions
    }
    job_lines = [line for line in lines if line.get("job_id") == job]
    assert {"app.access", "app.train.supervisor.supervisor", "app.train.worker.main"} <= {
        line["logger"] for line in job_lines
    }
    end_lines = [line for line in job_lines if line["logger"] == "app.train.worker.main"]
    assert {line["message"] for line in end_lines} == {f"job succeeded: job={job}"}


def test_a_collector_that_is_away_delays_nothing(tmp_path, seven, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    with run_service(tmp_path / "var") as service:
        assert post(service, "/predict", seven)["digit"] == 7
        service.end()  # within the time that any service is given
