"""Events, over connections that break."""

import pytest
from tenacity import wait_none

from mynet_client import ConnectionFailed, MyNetError, following, retries
from tests.client.stub import HANG_UP, answer, answering, problem

STREAM = {"Content_Type": "text/event-stream"}
QUEUED = b'id: 1\nevent: status\ndata: {"status": "queued"}\n\n: heartbeat\n\n'
BATCH = b'id: 2\nevent: batch\ndata: {"loss": 0.5}\n\n'
ENDED = b'id: 3\nevent: status\ndata: {"status": "cancelled"}\n\n'


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch):
    monkeypatch.setattr(retries, "BACK_OFF", wait_none())
    monkeypatch.setattr(following, "PAUSE", 0.0)


def stream(content, **headers):
    return answer(content, **STREAM, **headers)


def broken(content):
    """More was promised than comes."""
    return stream(content, **{"Content-Length": str(len(content) + 100)})


def test_a_broken_stream_goes_on_where_it_was(connect):
    parts = (broken(QUEUED + BATCH + ENDED[:20]), HANG_UP, problem(503, "not_ready"), stream(ENDED))
    with answering(*parts) as stub:
        events = [*connect(stub.url).events("a/b")]
        assert [(event.id, event.event) for event in events] == [
            (1, "status"), (2, "batch"), (3, "status"),
        ]  # fmt: skip
        assert [event.is_final for event in events] == [False, False, True]
        assert [request.headers["Last-Event-ID"] for request in stub.seen] == ["0", "2", "2", "2"]
        assert stub.seen[0].path == "/train/a%2Fb/events"


def test_a_stream_that_ends_before_the_job_is_opened_again(connect):
    with answering(stream(QUEUED), stream(BATCH + ENDED)) as stub:
        assert [event.id for event in connect(stub.url).events("j")] == [1, 2, 3]


def test_a_service_that_restarts_says_when_to_come_again(connect):
    ends = b": the service restarts\nretry: 2000\n\n"
    with answering(stream(ends), stream(QUEUED + ends), stream(ENDED)) as stub:
        assert [event.id for event in connect(stub.url).events("j")] == [1, 3]


def test_after_the_last_event_there_is_nothing(connect):
    with answering((204, {}, b"")) as stub:
        assert [*connect(stub.url).events("j", after=3)] == []
        assert stub.seen[0].headers["Last-Event-ID"] == "3"


def test_streams_that_bring_nothing_are_given_up(connect):
    with answering(stream(b""), broken(b""), stream(b": nothing\n\n")) as stub:
        with pytest.raises(ConnectionFailed, match="delivered no events"):
            [*connect(stub.url, attempts=3).events("j")]
        assert len(stub.seen) == 3


@pytest.mark.parametrize("content", [b"event: status\ndata: {}\n\n", b"id: 1\ndata: {\n\n"])
def test_what_is_no_event_is_said(connect, content):
    with answering(stream(content)) as stub, pytest.raises(MyNetError, match="not come from MyNet"):
        [*connect(stub.url).events("j")]


def test_a_page_is_no_stream(connect):
    with (
        answering(answer(b"<h1>Hello")) as stub,
        pytest.raises(ConnectionFailed, match="event-stream"),
    ):
        [*connect(stub.url).events("j")]
