"""Two services with folders of their own, and one bucket between them, which may be away."""

import asyncio
import json
import time
from contextlib import asynccontextmanager, contextmanager

import pytest

from app.versions.registry import SHIPPED
from tests.conftest import png
from tests.rigs.load.http_load import Connection, load, run
from tests.service.running import run_service, wait_until

QUICK_JOB = json.dumps({"epochs": 1, "batch_size": 1000, "promote": "always"}).encode()
NEXT_VERSION = len(list(SHIPPED.glob("*.safetensors"))) + 1
RATE = 20


@pytest.fixture(scope="module")
def services(server, tmp_path_factory):
    """The services of all tests: their bucket comes and goes, and they stay."""
    folder = tmp_path_factory.mktemp("services")
    shared = {"models_url": server.new_bucket(), "train_threads": 1}
    with (
        run_service(folder / "first", **shared) as first,
        run_service(folder / "other", **shared) as other,
    ):
        yield first, other


def next_version(service):
    """Return the number of the version that is stored next."""
    return service.get("/models")["data"][-1]["version"] + 1


def log_since(service, offset):
    """Return what the service has logged after so many characters."""
    return service.log.read_text()[offset:]


@pytest.fixture
def bucket_outage(server):
    """Take the bucket away, and bring it back."""

    @contextmanager
    def bucket_outage():
        server.end()
        try:
            yield
        finally:
            server.start()
            server.wait_until_up()

    return bucket_outage


@asynccontextmanager
async def light_load(service, uploads):
    """Predict at a steady rate while the context lasts; the list has the answers afterwards."""
    ended, answers = asyncio.Event(), []

    def due_times():
        while not ended.is_set():
            yield time.monotonic() + 1 / RATE

    task = asyncio.create_task(load(service.port, uploads, due_times(), 1))
    try:
        yield answers
    finally:
        ended.set()
        answers += [(result.reply.status, result.answer.get("version")) for result in await task]


async def run_under_load(services, uploads, work):
    """Do some work while both services predict; gives what came of it, and each one's answers."""
    first, other = services
    async with (
        light_load(first, uploads) as first_answers,
        light_load(other, uploads) as other_answers,
    ):
        done = await asyncio.to_thread(work)
    return done, first_answers, other_answers


def is_live(service, version):
    return wait_until(lambda: service.get("/health/ready")["version"] == version)


def promote(service, version):
    """Ask a service to go live with a version."""

    async def send_request():
        body = json.dumps({"version": version}).encode()
        connection = Connection(service.port)
        try:
            return await connection.ask("PUT", "/models/current", body)
        finally:
            connection.close()

    reply = asyncio.run(send_request())
    return reply.status, json.loads(reply.body)


def succeeded(body):
    return body["status"] == "succeeded"


def test_what_one_trains_is_live_on_the_other_which_rolls_it_back(services, digits):
    first, other = services
    live_version, expected = first.get("/models")["current"], next_version(first)

    def work():
        job = first.post("/train", QUICK_JOB)["id"]
        version = first.job_until(job, succeeded)["result"]["version"]
        assert is_live(other, version)
        assert other.post("/models/rollback")["version"] == live_version
        assert is_live(first, live_version)
        return version

    version, *answers = run(run_under_load(services, [png(pixels) for pixels in digits], work))
    assert version == expected
    for service_answers in answers:
        assert {status for status, _ in service_answers} == {200}
        assert {answer_version for _, answer_version in service_answers} == {
            live_version,
            version,
        }, "one that there is"
    for service in services:
        listed = [card["version"] for card in service.get("/models")["data"]]
        assert listed == [*range(1, expected + 1)]


def test_while_the_bucket_is_away_predictions_go_on_and_changes_are_refused(
    services, bucket_outage, digits
):
    first, other = services
    live_version, log_size = first.get("/models")["current"], len(other.log.read_text())
    other_version = next(number for number in range(1, NEXT_VERSION) if number != live_version)

    def work():
        with bucket_outage():
            response = promote(first, other_version)
            assert wait_until(
                lambda: "bucket unavailable, other services' changes" in log_since(other, log_size)
            )
        return response

    (status, problem), *answers = run(
        run_under_load(services, [png(pixels) for pixels in digits], work)
    )
    assert (status, problem["code"]) == (503, "not_ready")
    assert "bucket" in problem["detail"]
    for service_answers in answers:
        assert {*service_answers} == {(200, live_version)}
    status, card = promote(first, other_version)
    assert (status, card["version"]) == (200, other_version)
    assert is_live(other, other_version)


def test_a_training_that_ends_while_the_bucket_is_away_succeeds_once_it_is_back(
    services, bucket_outage
):
    first, other = services
    expected, log_size = next_version(first), len(first.log.read_text())
    job = first.post("/train", QUICK_JOB)["id"]
    first.job_until(job, lambda body: body["status"] == "running")
    with bucket_outage():
        assert wait_until(lambda: "waits to be stored" in log_since(first, log_size))
        assert first.get(f"/train/{job}")["status"] == "running"
    done = first.job_until(job, succeeded)
    assert (done["attempt"], done["result"]["version"]) == (1, expected)
    assert log_since(first, log_size).count("waits to be stored") == 1, "it is logged once"
    assert is_live(other, expected)
