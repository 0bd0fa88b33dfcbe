"""What is sent again, what is not, and what a refusal says."""

import pytest
from tenacity import wait_none

import mynet_client
from mynet_client import ApiError, ConnectionFailed, MyNetError, retries
from tests.client.stub import HANG_UP, answer, answering, problem

READY = answer({"status": "ready", "version": 3, "device": "cpu", "since": "a newer service"})
BUSY = problem(429, "busy", Retry_After="0")
JOB = {
    "id": "j", "status": "queued", "created_at": "2026-01-01T00:00:00Z", "hyperparameters": {},
    "attempt": 0,
}  # fmt: skip


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch):
    monkeypatch.setattr(retries, "BACK_OFF", wait_none())


def test_busy_and_not_ready_pass(connect):
    with answering(BUSY, problem(503, "not_ready"), BUSY, READY) as stub:
        assert connect(stub.url).ready().version == 3
        assert len(stub.seen) == 4


def test_attempts_are_bounded(connect):
    with answering(BUSY, BUSY, BUSY, READY) as stub:
        with pytest.raises(ApiError) as error:
            connect(stub.url, attempts=3).predict(b"image")
        assert (error.value.status, error.value.code) == (429, "busy")
        assert len(stub.seen) == 3


def test_who_says_come_back_tomorrow_is_believed(connect):
    with answering(problem(503, "not_ready", Retry_After="86400")) as stub:
        with pytest.raises(ApiError) as error:
            connect(stub.url).ready()
        assert error.value.retry_after == 86400


def test_other_refusals_are_final(connect):
    with answering(problem(409, "conflict")) as stub:
        with pytest.raises(ApiError, match="no") as error:
            connect(stub.url).delete(1)
        assert error.value.code == "conflict"
        assert error.value.request_id == "abc"


def test_a_broken_connection_is_repaired_where_that_does_no_harm(connect):
    with answering(HANG_UP, HANG_UP, answer(JOB)) as stub:
        assert connect(stub.url).train(epochs=3, note=None).id == "j"
        keys = {request.headers["Idempotency-Key"] for request in stub.seen}
        assert len(stub.seen) == 3
        assert len(keys) == 1
        assert stub.seen[0].body == b'{"epochs":3}'


def test_where_it_could_do_harm_nothing_is_sent_twice(connect):
    with answering(HANG_UP, READY) as stub:
        with pytest.raises(ConnectionFailed):
            connect(stub.url).rollback()
        assert len(stub.seen) == 1


def test_what_cannot_be_sent_is_the_callers_own_mistake(connect):
    with answering() as stub, pytest.raises(ValueError, match="JSON"):
        connect(stub.url).train(learning_rate=float("nan"))


def test_nobody_there(connect):
    with answering() as stub:
        pass
    with pytest.raises(ConnectionFailed, match=stub.url):
        connect(stub.url, attempts=2).rollback()


def test_the_key_is_sent(connect):
    with answering(READY, READY) as stub:
        connect(stub.url, api_key="secret").ready()
        connect(stub.url).ready()
        assert [request.headers["Authorization"] for request in stub.seen] == [
            "Bearer secret",
            None,
        ]


def test_something_else_than_mynet_answers(connect):
    with answering((502, {}, b"<h1>Bad gateway"), answer(b"<h1>Hello"), answer({})) as stub:
        client = connect(stub.url)
        with pytest.raises(ApiError, match="Bad gateway") as error:
            client.ready()
        assert (error.value.code, error.value.status) == ("unknown", 502)
        for _ in range(2):
            with pytest.raises(MyNetError, match="not come from MyNet"):
                client.ready()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("soon", None), ("", None)],
)
def test_retry_after_in_both_forms(value, seconds, connect):
    with answering(problem(409, "conflict", Retry_After=value)) as stub:
        with pytest.raises(ApiError) as error:
            connect(stub.url).rollback()
        assert error.value.retry_after == seconds


def test_the_names_of_the_release_before_still_work():
    assert mynet_client.Refusal is mynet_client.ApiError
    assert mynet_client.Unreachable is mynet_client.ConnectionFailed
