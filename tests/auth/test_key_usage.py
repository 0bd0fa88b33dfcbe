"""Last-used times of keys: what a request stores, and when the database gets it."""

import asyncio
import logging
from contextlib import closing
from datetime import timedelta

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from app.auth import key_usage
from app.auth.access_control import AccessControl
from app.auth.key_cache import KeyCache
from app.auth.key_usage import MIN_AGE, KeyUsage
from app.auth.keys import KeyStore, Scope
from app.database.database import Database
from app.database.tables import now
from app.errors import NotReady
from app.main import create_app
from tests.postgres import ALL_DATABASES
from tests.service.running import wait_until

DATABASES = ALL_DATABASES
ADMIN_KEY = "open-sesame-open-sesame"


@pytest.fixture
def key_store(database):
    return KeyStore(database)


@pytest.fixture
def key(key_store):
    return key_store.create("ci", [Scope.TRAIN])[0]


class Process:
    """What one process knows of the keys, and how often it has written."""

    def __init__(self, key_store, monkeypatch):
        keys, self.writes = KeyStore(key_store.database), 0
        self.cache = KeyCache(keys, ADMIN_KEY)
        self.usage = KeyUsage(self.cache)
        store = keys.store_last_used

        def count_and_store(times):
            self.writes += 1
            store(times)

        monkeypatch.setattr(keys, "store_last_used", count_and_store)

    def use(self, key):
        """Use the key, and do what the background tasks do soon after."""
        self.cache.refresh()
        self.usage.record(key)
        asyncio.run(self.usage.store_due())


def last_used(key_store):
    (key,) = key_store.all()
    return key.last_used


def test_first_use_is_stored_at_once_and_later_ones_once_a_minute(key_store, key, monkeypatch):
    process, start = Process(key_store, monkeypatch), now()
    assert last_used(key_store) is None
    for seconds in range(0, 181, 10):
        time = start + timedelta(seconds=seconds)
        monkeypatch.setattr(key_usage, "now", lambda time=time: time)
        process.use(key)
    assert process.writes == 4
    assert last_used(key_store) == start + 3 * MIN_AGE


def test_use_that_was_not_due_is_stored_later_without_another_use(key_store, key, monkeypatch):
    process, start = Process(key_store, monkeypatch), now()
    for seconds in (0, 5):
        time = start + timedelta(seconds=seconds)
        monkeypatch.setattr(key_usage, "now", lambda time=time: time)
        process.use(key)
    assert last_used(key_store) == start
    monkeypatch.setattr(key_usage, "now", lambda: start + MIN_AGE)
    process.cache.refresh()
    asyncio.run(process.usage.store_due())
    assert last_used(key_store) == time
    asyncio.run(process.usage.store_due())
    assert process.writes == 2, "what is stored is not stored again"


def test_processes_share_one_write_a_minute(key_store, key, monkeypatch):
    processes = [Process(key_store, monkeypatch) for _ in range(4)]
    for process in processes:
        process.use(key)
    assert [process.writes for process in processes] == [1, 0, 0, 0]


def test_stored_time_never_moves_backwards(key_store, key):
    time = now()
    key_store.store_last_used({key.id: time})
    key_store.store_last_used({key.id: time - timedelta(seconds=1), "none": time})
    assert last_used(key_store) == time


def test_use_during_a_write_is_not_lost(key_store, key, monkeypatch):
    process = Process(key_store, monkeypatch)
    process.cache.refresh()
    process.usage.record(key)
    store, later = process.cache.keys.store_last_used, now() + timedelta(seconds=1)

    def use_and_store(times):
        monkeypatch.setattr(key_usage, "now", lambda: later)
        process.usage.record(key)
        store(times)

    monkeypatch.setattr(process.cache.keys, "store_last_used", use_and_store)
    asyncio.run(process.usage.store_due())
    assert last_used(key_store) < later
    process.usage.store_all()
    assert last_used(key_store) == later


def test_request_asks_no_database(settings, key_store, monkeypatch):
    key, secret = key_store.create("ci", [Scope.TRAIN])
    cache = KeyCache(key_store, None)
    cache.refresh()
    control = AccessControl(settings.model_copy(update={"auth": "keys"}), cache)
    with monkeypatch.context() as patch:
        patch.setattr(key_store, "database", None)
        assert control.authenticate([(b"x-api-key", secret.encode())]).id == key.id
        assert control.authenticate([(b"x-api-key", secret[:-1].encode())]) is None
    control.key_usage.store_all()
    assert last_used(key_store) is not None


def test_environment_key_is_not_looked_for_in_the_database(key_store, monkeypatch):
    process = Process(key_store, monkeypatch)
    process.use(process.cache.find(ADMIN_KEY.encode()))
    process.usage.store_all()
    assert process.writes == 0


@pytest.fixture
def closed(settings, monkeypatch):
    """The settings of a service that needs keys, and stores their use without delay."""
    monkeypatch.setattr(key_usage, "CHECK_INTERVAL", 0.01)
    return settings.model_copy(update={"auth": "keys", "admin_key": SecretStr(ADMIN_KEY)})


def opened(settings):
    return closing(Database(settings.effective_database_url))


def listed(client, key_id):
    keys = client.get("/keys", headers={"X-API-Key": ADMIN_KEY}).json()["data"]
    return next(key["last_used"] for key in keys if key["id"] == key_id)


def test_service_lists_when_a_key_was_last_used_and_stores_all_at_its_end(closed):
    with opened(closed) as database:
        key, secret = KeyStore(database).create("ci", [Scope.TRAIN])
        with TestClient(create_app(closed)) as client:
            assert listed(client, key.id) is None
            used_from = now()
            assert client.get("/train", headers={"X-API-Key": secret}).status_code == 200
            assert wait_until(lambda: listed(client, key.id))
            first = KeyStore(database).all()[0].last_used
            assert used_from <= first <= now()
            assert client.get("/train", headers={"X-API-Key": secret}).status_code == 200
        assert first < KeyStore(database).all()[0].last_used <= now()


def test_database_that_fails_fails_no_request_and_is_logged_once(closed, monkeypatch, caplog):
    caplog.set_level(logging.ERROR, "app.auth.key_usage")
    attempts = []

    def fail(_self, times):
        attempts.append(times)
        raise NotReady("gone")

    with opened(closed) as database:
        key, secret = KeyStore(database).create("ci", [Scope.TRAIN])
        with TestClient(create_app(closed)) as client:
            with monkeypatch.context() as patch:
                patch.setattr(KeyStore, "store_last_used", fail)
                for _ in range(3):
                    assert client.get("/train", headers={"X-API-Key": secret}).status_code == 200
                assert wait_until(lambda: len(attempts) > 3)
            assert caplog.text.count("could not be stored") == 1
            assert wait_until(lambda: listed(client, key.id)), "the next try stores it"


def test_end_goes_on_if_the_last_times_cannot_be_stored(key_store, key, monkeypatch, caplog):
    usage = KeyUsage(KeyCache(key_store, None))
    usage.record(key)
    monkeypatch.setattr(key_store, "database", None)
    usage.store_all()
    assert "last-used times of keys could not be stored" in caplog.text
