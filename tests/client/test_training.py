"""Trainings of the real service: followed over connections that break, and gone on from."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from tenacity import wait_none

from mynet_client import ApiError, AsyncClient, Client, following, retries
from tests.client.stub import Relay
from tests.conftest import png

HYPERPARAMETERS = {
    **{"epochs": 3, "batch_size": 9, "seed": 5, "promote": "never"},
    **{"keep_checkpoints": True, "validation_fraction": 0.1, "early_stopping": {"patience": 5}},
    "max_seconds": 1000.0,
}


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch):
    monkeypatch.setattr(retries, "BACK_OFF", wait_none())
    monkeypatch.setattr(following, "PAUSE", 0.0)


def breaks_at(event, received):
    """Whether to break the connection here: at the first event, and once in each epoch."""
    return not received or (event.event == "batch" and event.data["batch"] == 100)


def follow(relay, job_id):
    received = []
    with Client(relay.url) as client:
        for event in client.events(job_id):
            if breaks_at(event, received):
                relay.cut()
            received.append(event)
    return received


async def follow_asynchronously(relay, job_id):
    received = []
    async with AsyncClient(relay.url) as client:
        async for event in client.events(job_id):
            if breaks_at(event, received):
                relay.cut()
            received.append(event)
    return received


def test_both_clients_follow_a_training_to_its_end_though_connections_break(service, url, digits):
    """The same job shows that its checkpoints are gone on from: a training takes its time."""
    relays = Relay(service.port), Relay(service.port)
    with Client(url) as client, ThreadPoolExecutor(1) as pool:
        job = client.train(**HYPERPARAMETERS, idempotency_key=None)
        future = pool.submit(follow, relays[0], job.id)
        events = asyncio.run(follow_asynchronously(relays[1], job.id))
        assert future.result() == events == [*client.events(job.id)]
        batches = [event.data["batch"] for event in events if event.event == "batch"]
        assert batches == [100, 200] * 3
        assert events[-1].data == {"status": "succeeded"}
        finished_job = client.job(job)
        assert finished_job.is_final
        assert finished_job.result.promoted is False
        for relay in relays:
            relay.close()
            assert relay.connections >= 2
        check_that_a_training_goes_on(client, finished_job, digits)


def check_that_a_training_goes_on(client, job, digits):
    """Store a checkpoint of a job, and train from another one, with corrections."""
    checkpoints = client.checkpoints(job).data
    assert [checkpoint.epoch for checkpoint in checkpoints] == [0, 1, 2]
    assert checkpoints[1].validation_loss == job.epochs[1].validation_loss > 0
    card = client.store_checkpoint(job, 0)
    assert (card.checkpoint, card.job) == (0, job.id)
    assert card.version == job.result.version + 1
    corrections = [client.feedback(png(digits[label]), label) for label in (1, 2)]
    begin = {"job": job.id, "epoch": 1}
    next_job = client.train(epochs=1, promote="never", init=begin, include_feedback=True)
    (result,) = [event.data for event in client.events(next_job) if event.event == "result"]
    trained = client.model(result["version"])
    assert (trained.parent_checkpoint, trained.feedback) == (begin, 2)
    for correction in corrections:
        client.delete_correction(correction)


def test_a_job_that_is_not_there_is_refused(mynet):
    with pytest.raises(ApiError) as error:
        [*mynet.events("none")]
    assert error.value.code == "not_found"


def test_what_came_after_an_event_can_be_asked_for(mynet):
    job = mynet.cancel(mynet.train(idempotency_key=None))
    events = [*mynet.events(job)]
    assert events[-1].data == {"status": "cancelled"}
    assert [*mynet.events(job, after=events[-2].id)] == events[-1:]
