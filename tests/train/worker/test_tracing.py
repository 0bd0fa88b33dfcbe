"""The spans of an attempt, in the trace of the request that queued the job."""

import threading

import pytest

from app.mnist.dataset import DatasetUnavailable
from app.train.jobs import job
from app.train.jobs.assignment import Assignment
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.recipes import dataset
from app.train.worker import main

spans = pytest.importorskip("app.telemetry.otel")
memory = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter")

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACE_CONTEXT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


@pytest.fixture
def attempt(
    settings,
    store,
    registry,  # noqa: ARG001, there is a version to beat
    small_dataset,  # noqa: ARG001
    monkeypatch,
):
    """Run an attempt, and give the job with the spans of it, the last one first."""
    monkeypatch.setattr(spans, "SHUTDOWN_TIMEOUT", 120.0)  # no span is lost on a busy machine

    def attempt(trace_context=None, *, stopped=False, **hyperparameters):
        hyperparameters = Hyperparameters(**{"epochs": 2, "seed": 11, **hyperparameters})
        created = job.create(
            store, hyperparameters, max_queued=9, key=None, trace_context=trace_context
        )
        number = job.start(store, created)
        exporter, stop = memory.InMemorySpanExporter(), threading.Event()
        if stopped:
            stop.set()
        traces = spans.Spans([exporter])
        assignment = Assignment(settings=settings, job_id=created.id, attempt=number)
        main.run_attempt(assignment, stop, traces)
        traces.close()
        return store.job(created.id), exporter.get_finished_spans()[::-1]

    return attempt


def test_an_attempt_goes_on_with_the_trace_of_the_request(attempt):
    ended, (root, *children) = attempt(TRACE_CONTEXT)
    assert ended.status == "succeeded"
    assert (root.name, f"{root.parent.span_id:016x}") == ("train", PARENT)
    assert dict(root.attributes) == {"mynet.job_id": ended.id, "mynet.attempt": 1}
    assert {f"{span.context.trace_id:032x}" for span in (root, *children)} == {TRACE}
    assert {span.parent.span_id for span in children} == {root.context.span_id}
    names = [span.name for span in children[::-1]]
    assert names == ["epoch", "epoch", "evaluate", "store", "promote"]


def test_epochs_tell_what_clients_see(attempt):
    ended, (_, promote, store, evaluate, *epochs) = attempt(promote="always")
    epoch_attributes = [dict(span.attributes) for span in epochs[::-1]]
    assert epoch_attributes == [
        {f"mynet.{name}": value for name, value in epoch.items() if value is not None}
        for epoch in ended.epochs
    ]
    assert {"mynet.epoch", "mynet.train_loss", "mynet.test_accuracy"} <= set(epoch_attributes[0])
    accuracy, version = ended.result["test_accuracy"], ended.result["version"]
    assert dict(evaluate.attributes) == {"mynet.test_accuracy": accuracy}
    assert dict(store.attributes) == {"mynet.version": version}
    assert dict(promote.attributes) == {"mynet.version": version, "mynet.promoted": True}


def test_without_a_trace_to_join_it_begins_one(attempt):
    _, (root, *_) = attempt()
    assert root.parent is None


def test_a_stopped_attempt_is_no_error(attempt):
    ended, (root,) = attempt(stopped=True)
    assert ended.status == "running", "the supervisor queues it again"
    assert root.attributes["error.type"] == "Stopped"
    assert root.status.is_unset


def test_a_failed_one_is(attempt, monkeypatch):
    def no_data(_):
        raise DatasetUnavailable("MNIST could not be read")

    monkeypatch.setattr(dataset, "load", no_data)
    _, (root,) = attempt()
    assert root.attributes["error.type"] == "DatasetUnavailable"
    assert (root.status.status_code.name, root.status.description) == (
        "ERROR",
        "MNIST could not be read",
    )


def test_what_clients_see_of_a_job_is_the_same(store):
    plain, traced = (
        job.create(
            store, Hyperparameters(seed=1), max_queued=9, key=None, trace_context=trace_context
        )
        for trace_context in (None, TRACE_CONTEXT)
    )
    assert plain.hyperparameters == traced.hyperparameters
    assert [event.data for event in store.events(traced.id)] == [{"status": "queued"}]
