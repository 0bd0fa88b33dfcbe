"""Two services with folders of their own, and one bucket between them, which may be away."""

import asyncio
import json
import time
from contextlib import asynccontextmanager, contextmanager

import pytest

from app.versions.registry import SHIPPED
from tests.conftest import png
from tests.rigs.load.http_load import Connection, load, run
from tests.service.running import comes_true, serving

QUICK = json.dumps({"epochs": 1, "batch_size": 1000, "promote": "always"}).encode()
NEXT = len(list(SHIPPED.glob("*.safetensors"))) + 1
RATE = 20


@pytest.fixture(scope="module")
def services(server, tmp_path_factory):
    """The services of all tests: their bucket comes and goes, and they stay."""
    folder = tmp_path_factory.mktemp("services")
    shared = {"models_url": server.new_bucket(), "train_threads": 1}
    with (
        serving(folder / "first", **shared) as first,
        serving(folder / "other", **shared) as other,
    ):
        yield first, other


def next_version(service):
    """Return the number of the version that is stored next."""
    return service.get("/models")["data"][-1]["version"] + 1


def since(service, read):
    """Return what the service has logged after so many characters."""
    return service.log.read_text()[read:]


@pytest.fixture
def away(server):
    """Take the bucket away, and bring it back."""

    @contextmanager
    def away():
        server.end()
        try:
            yield
        finally:
            server.start()
            server.until_up()

    return away


@asynccontextmanager
async def light_load(service, uploads):
    """Predict at a steady rate meanwhile; gives a list that has the answers afterwards."""
    ended, answers = asyncio.Event(), []

    def due_times():
        while not ended.is_set():
            yield time.monotonic() + 1 / RATE

    loading = asyncio.create_task(load(service.port, uploads, due_times(), 1))
    try:
        yield answers
    finally:
        ended.set()
        answers += [(each.reply.status, each.answer.get("version")) for each in await loading]


async def during(services, uploads, work):
    """Do some work while both services predict; gives what came of it, and each one's answers."""
    first, other = services
    async with light_load(first, uploads) as of_first, light_load(other, uploads) as of_other:
        done = await asyncio.to_thread(work)
    return done, of_first, of_other


def is_live(service, version):
    return comes_true(lambda: service.get("/health/ready")["version"] == version)


def go_live(service, version):
    """Ask a service to go live with a version."""

    async def ask():
        body = json.dumps({"version": version}).encode()
        connection = Connection(service.port)
        try:
            return await connection.ask("PUT", "/models/current", body)
        finally:
            connection.close()

    reply = asyncio.run(ask())
    return reply.status, json.loads(reply.body)


def succeeded(body):
    return body["status"] == "succeeded"


def test_what_one_trains_is_live_on_the_other_which_rolls_it_back(services, digits):
    first, other = services
    before, expected = first.get("/models")["current"], next_version(first)

    def work():
        job = first.post("/train", QUICK)["id"]
        version = first.job_until(job, succeeded)["result"]["version"]
        assert is_live(other, version)
        assert other.post("/models/rollback")["version"] == before
        assert is_live(first, before)
        return version

    version, *answers = run(during(services, [png(each) for each in digits], work))
    assert version == expected
    for of_one in answers:
        assert {status for status, _ in of_one} == {200}
        assert {answered for _, answered in of_one} == {before, version}, "one that there is"
    for service in services:
        listed = [card["version"] for card in service.get("/models")["data"]]
        assert listed == [*range(1, expected + 1)]


def test_while_the_bucket_is_away_predictions_go_on_and_changes_are_refused(services, away, digits):
    first, other = services
    before, read = first.get("/models")["current"], len(other.log.read_text())
    wanted = next(number for number in range(1, NEXT) if number != before)

    def work():
        with away():
            said = go_live(first, wanted)
            assert comes_true(lambda: "what is live elsewhere is not seen" in since(other, read))
        return said

    (status, problem), *answers = run(during(services, [png(each) for each in digits], work))
    assert (status, problem["code"]) == (503, "not_ready")
    assert "bucket" in problem["detail"]
    for of_one in answers:
        assert {*of_one} == {(200, before)}
    status, card = go_live(first, wanted)
    assert (status, card["version"]) == (200, wanted)
    assert is_live(other, wanted)


def test_a_training_that_ends_while_the_bucket_is_away_succeeds_once_it_is_back(services, away):
    first, other = services
    expected, read = next_version(first), len(first.log.read_text())
    job = first.post("/train", QUICK)["id"]
    first.job_until(job, lambda body: body["status"] == "running")
    with away():
        assert comes_true(lambda: "waits to be stored" in since(first, read), 120)
        assert first.get(f"/train/{job}")["status"] == "running"
    done = first.job_until(job, succeeded)
    assert (done["attempt"], done["result"]["version"]) == (1, expected)
    assert since(first, read).count("waits to be stored") == 1, "it is told once"
    assert is_live(other, expected)
