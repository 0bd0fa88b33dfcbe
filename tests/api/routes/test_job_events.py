"""Events over HTTP: JSON pages and server-sent events from one path."""

import json

import pytest

from app.api.openapi.examples import EPOCH
from app.train.jobs import job as jobs
from app.train.jobs.fenced_writer import FencedWriter
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.supervisor import supervisor

JSON = {"Accept": "application/json"}
STREAM = {"Accept": "text/event-stream"}


@pytest.fixture(scope="module")
def idle(shared_client):
    """The app with a supervisor that starts nothing."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(supervisor.Supervisor, "_schedule", lambda _: None)
        yield shared_client


@pytest.fixture(scope="module")
def ended(idle):
    """A job that told of three batches and an epoch, and was cancelled."""
    store = idle.app_state["services"].job_store
    job = jobs.create(store, Hyperparameters(), max_queued=9, key=None)
    attempt = jobs.start(store, job)
    for batch in (100, 200, 300):
        data = {"epoch": 0, "batch": batch, "loss": 0.1 * batch}
        FencedWriter(store, job.id, attempt).record("batch", data, progress=None)
    FencedWriter(store, job.id, attempt).record("epoch", EPOCH.model_dump(), progress=None)
    jobs.cancel(store, job.id)
    return f"/train/{job.id}/events"


def parsed(text):
    """Read server-sent events as a client does: their fields, and the comments."""
    blocks = [
        dict(line.split(": ", 1) for line in block.splitlines()) for block in text.split("\n\n")
    ]
    return [
        (int(block["id"]), block["event"], json.loads(block["data"])) for block in blocks if block
    ]


def test_both_forms_tell_the_same(idle, ended):
    stream = idle.get(ended, headers=STREAM)
    assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert stream.headers["cache-control"] == "no-store"
    pages = idle.get(ended, headers=JSON).json()
    assert pages["has_more"] is False
    assert [(event["id"], event["event"], event["data"]) for event in pages["data"]] == parsed(
        stream.text
    )
    assert [event for _, event, _ in parsed(stream.text)] == [
        "status", "status", "batch", "batch", "batch", "epoch", "status",
    ]  # fmt: skip
    assert parsed(stream.text)[-1][2] == {"status": "cancelled"}
    assert pages["data"][0]["at"].endswith("Z")


def test_pages_follow_on_each_other(idle, ended):
    ids, after, has_more = [], 0, True
    while has_more:
        page = idle.get(f"{ended}?limit=3&after={after}", headers=JSON).json()
        ids += [event["id"] for event in page["data"]]
        after, has_more = ids[-1], page["has_more"]
    assert ids == [event["id"] for event in idle.get(ended, headers=JSON).json()["data"]]


@pytest.mark.parametrize("source", ["header", "query"])
def test_a_stream_goes_on_after_the_last_one_seen(idle, ended, source):
    all_events = parsed(idle.get(ended, headers=STREAM).text)
    last = all_events[3][0]
    if source == "header":
        rest = idle.get(ended, headers={**STREAM, "Last-Event-ID": str(last)})
    else:
        rest = idle.get(f"{ended}?after={last}", headers=STREAM)
    assert parsed(rest.text) == all_events[4:]


def test_who_has_seen_all_need_not_come_again(idle, ended):
    last = parsed(idle.get(ended, headers=STREAM).text)[-1][0]
    answer = idle.get(ended, headers={**STREAM, "Last-Event-ID": str(last)})
    assert (answer.status_code, answer.content) == (204, b"")


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", "text/event-stream"),
        ("text/event-stream", "text/event-stream"),
        ("text/html,*/*;q=0.8", "text/event-stream"),
        ("application/json", "application/json"),
        ("application/json, */*", "application/json"),
        ("Application/JSON", "application/json"),
        ("application/json, text/event-stream", "text/event-stream"),
    ],
)
def test_the_accept_header_chooses(idle, ended, accept, kind):
    assert idle.get(ended, headers={"Accept": accept}).headers["content-type"].startswith(kind)


@pytest.mark.parametrize("headers", [JSON, STREAM])
@pytest.mark.parametrize(
    "query", ["after=-1", "after=x", "limit=0", "limit=1001", f"after={2**63}"]
)
def test_a_bad_query_is_refused(idle, ended, headers, query):
    assert idle.get(f"{ended}?{query}", headers=headers).json()["code"] == "invalid_field"


def test_a_bad_last_event_id_is_refused(idle, ended):
    answer = idle.get(ended, headers={**STREAM, "Last-Event-ID": "x"})
    assert answer.json()["errors"][0]["field"] == "last-event-id"


@pytest.mark.parametrize("headers", [JSON, STREAM])
def test_an_unknown_job_is_a_404(idle, headers):
    assert idle.get("/train/x/events", headers=headers).json()["code"] == "not_found"
