import asyncio
import logging
import re

import pytest
from sqlalchemy import text
from starlette.testclient import TestClient

from app.auth import key_cache, keys
from app.auth.key_cache import KeyCache
from app.auth.keys import KeyStore, Scope
from app.database.database import Database
from app.database.jobs import JobStore
from app.errors import Conflict, InvalidField, NotFound, NotReady
from app.main import create_app
from app.train.jobs import job as jobs
from app.train.jobs.hyperparameters import Hyperparameters
from app.train.supervisor import supervisor
from tests.database import before_revisions
from tests.postgres import ALL_DATABASES

DATABASES = ALL_DATABASES

ADMIN_KEY = "the-first-key-of-all"


@pytest.fixture
def key_store(store):
    return KeyStore(store.database)


@pytest.fixture
def cache(key_store):
    return KeyCache(key_store, ADMIN_KEY)


def test_a_key_is_kept_as_a_digest(key_store, store):
    key, whole = key_store.create("ci", [Scope.TRAIN, Scope.PREDICT, Scope.TRAIN])
    assert re.fullmatch(rf"mynet_{key.id}_[0-9a-f]{{48}}", whole)
    assert key.scopes == ["predict", "train"]
    with store.database.engine.connect() as connection:
        (row,) = connection.execute(text("SELECT * FROM keys"))
    assert whole not in str(row)
    assert whole.rpartition("_")[2] not in str(row)
    assert keys.digest(whole.encode()) in str(row)


def test_no_two_keys_are_alike(key_store):
    assert len({key_store.create("ci", [Scope.ADMIN])[1] for _ in range(20)}) == 20


@pytest.mark.parametrize("name", ["", "two words", "a\nb", "x" * 65, "ключ", "a)"])
def test_a_name_that_could_be_taken_for_more_is_refused(key_store, name):
    with pytest.raises(InvalidField, match="Use 1 to 64 letters"):
        key_store.create(name, [Scope.TRAIN])


def test_keys_are_listed_and_revoked_once(key_store):
    first, second = (key_store.create(name, [Scope.TRAIN])[0] for name in ("a", "b"))
    assert key_store.revoke(first.id).name == "a"
    assert [key.id for key in key_store.all()] == [first.id, second.id]
    assert [key.id for key in key_store.valid()] == [second.id]
    with pytest.raises(Conflict, match="already"):
        key_store.revoke(first.id)
    with pytest.raises(NotFound, match=r"The key 'zzz' does not exist\. `mynet keys list`"):
        key_store.revoke("zzz")


def test_a_database_from_before_there_were_keys_goes_on(settings):
    before_revisions.make(settings.effective_database_url, without=["keys"])
    store = JobStore(Database(settings.effective_database_url, migrate=True))
    assert KeyStore(store.database).all() == []
    assert store.jobs() == []
    store.database.close()


def test_the_ring_finds_what_is_valid(key_store, cache):
    key, whole = key_store.create("ci", [Scope.TRAIN])
    revoked, gone = key_store.create("old", [Scope.TRAIN])
    key_store.revoke(revoked.id)
    _, expired = key_store.create("old", [Scope.TRAIN], days=-1)
    cache.refresh()
    assert cache.find(whole.encode()).id == key.id
    assert cache.find(ADMIN_KEY.encode()).id == "admin"
    wrong = whole[:-1] + ("0" if whole[-1] != "0" else "1")
    swapped = whole.replace(key.id, revoked.id)
    for candidate in (
        "",
        "x",
        wrong,
        swapped,
        gone,
        expired,
        "mynet_",
        f"mynet_{key.id}",
        "x" * 10_000,
    ):
        assert cache.find(candidate.encode()) is None, candidate
    assert cache.find(b"\xff_\xff") is None


def test_a_key_that_ends_while_it_is_known_opens_nothing(key_store, cache, monkeypatch):
    key, whole = key_store.create("ci", [Scope.TRAIN], days=1)
    cache.refresh()
    assert cache.find(whole.encode())
    monkeypatch.setattr(keys, "now", lambda: key.expires_at)
    assert cache.find(whole.encode()) is None


def test_keys_are_compared_in_constant_time(key_store, cache, monkeypatch):
    _, whole = key_store.create("ci", [Scope.TRAIN])
    cache.refresh()
    compared = []

    def never(one, other):
        compared.append((one, other))
        return False

    monkeypatch.setattr(key_cache, "compare_digest", never)
    assert cache.find(whole.encode()) is None, "nothing else decides"
    assert len(compared) == 2
    assert compared[1][0] == compared[1][1] == keys.digest(whole.encode())


def test_without_a_first_key_there_is_none(key_store):
    cache = KeyCache(key_store, None)
    assert cache.find(b"") is None
    assert cache.find(b"None") is None


def test_a_pasted_key_is_the_first_one_all_the_same(key_store):
    _, whole = key_store.create("ci", [Scope.TRAIN])
    cache = KeyCache(key_store, whole)
    cache.refresh()
    assert cache.find(whole.encode()).scopes == ["admin"]


@pytest.mark.parametrize("scope", Scope)
def test_a_scope_holds_no_other_but_admin(key_store, scope):
    key, _ = key_store.create("ci", [scope])
    assert {required for required in Scope if keys.allows(key, required)} == (
        set(Scope) if scope is Scope.ADMIN else {scope}
    )
    assert keys.allows(key, None)


def test_the_ring_follows_the_database_and_outlives_it(key_store, cache, monkeypatch, caplog):
    monkeypatch.setattr(key_cache, "POLL_INTERVAL", 0.01)
    caplog.set_level(logging.INFO, "app.auth.key_cache")

    async def wait_until(condition):
        async with asyncio.timeout(120):
            while not condition():
                await asyncio.sleep(0.01)

    async def follow():
        watching = asyncio.create_task(cache.watch())
        key, whole = await asyncio.to_thread(key_store.create, "ci", [Scope.TRAIN])
        await wait_until(lambda: cache.find(whole.encode()))
        with monkeypatch.context() as patch:
            patch.setattr(key_store, "valid", lambda: (_ for _ in ()).throw(NotReady("gone")))
            await wait_until(lambda: "keys could not be refreshed" in caplog.text)
            await asyncio.sleep(0.05)
            assert cache.find(whole.encode()), "what was known goes on"
        await asyncio.to_thread(key_store.revoke, key.id)
        await wait_until(lambda: not cache.find(whole.encode()))
        watching.cancel()

    asyncio.run(follow())
    assert caplog.text.count("keys could not be refreshed") == 1
    assert "name=ci scopes=train" in caplog.text
    assert "key removed: " in caplog.text


def test_finding_asks_no_database(key_store, cache, monkeypatch):
    _, whole = key_store.create("ci", [Scope.TRAIN])
    cache.refresh()
    with monkeypatch.context() as patch:
        patch.setattr(key_store, "database", None)
        assert cache.find(whole.encode())


@pytest.mark.parametrize("path", ["/train", "/sweeps"])
def test_create_with_same_idempotency_key_of_two_api_keys_makes_two(
    settings, key_store, monkeypatch, path
):
    monkeypatch.setattr(supervisor.Supervisor, "_schedule", lambda _: None)
    secrets = [key_store.create(name, [Scope.TRAIN])[1] for name in ("a", "b")]
    settings = settings.model_copy(update={"auth": "keys"})
    with TestClient(create_app(settings)) as client:

        def create(secret, value):
            headers = {"X-API-Key": secret, "Idempotency-Key": "k"}
            answer = client.post(path, headers=headers, json={"epochs": value})
            return answer.status_code, answer.json().get("id")

        first, second = (create(secret, number) for number, secret in enumerate(secrets, 1))
        assert (first[0], second[0]) == (202, 202)
        assert first[1] != second[1]
        assert [create(secret, number) for number, secret in enumerate(secrets, 1)] == [
            first,
            second,
        ]
        assert create(secrets[0], 2) == (409, None)


def test_create_without_api_keys_finds_the_job_of_an_earlier_service(settings, store, monkeypatch):
    monkeypatch.setattr(supervisor.Supervisor, "_schedule", lambda _: None)
    job = jobs.create(store, Hyperparameters(epochs=2), max_queued=9, key="k")
    with TestClient(create_app(settings)) as client:
        headers = {"Idempotency-Key": "k"}
        answer = client.post("/train", headers=headers, json={"epochs": 2})
        assert (answer.status_code, answer.json()["id"]) == (202, job.id)
