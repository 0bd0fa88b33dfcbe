import asyncio
import logging
import re

import pytest
from sqlalchemy import create_engine, text

from app.auth import key_cache, keys
from app.auth.key_cache import KeyCache
from app.auth.keys import KeyStore, Scope
from app.database.store import Store
from app.errors import Conflict, InvalidField, NotFound, NotReady
from tests.database import before_revisions
from tests.postgres import BOTH

DATABASES = BOTH

ADMIN_KEY = "the-first-key-of-all"


@pytest.fixture
def made(store):
    return KeyStore(store)


@pytest.fixture
def ring(made):
    return KeyCache(made, ADMIN_KEY)


def test_a_key_is_kept_as_a_digest(made, store):
    key, whole = made.create("ci", [Scope.TRAIN, Scope.PREDICT, Scope.TRAIN])
    assert re.fullmatch(rf"mynet_{key.id}_[0-9a-f]{{48}}", whole)
    assert key.scopes == ["predict", "train"]
    with store.engine.connect() as connection:
        (row,) = connection.execute(text("SELECT * FROM keys"))
    assert whole not in str(row)
    assert whole.rpartition("_")[2] not in str(row)
    assert keys.digest(whole.encode()) in str(row)


def test_no_two_keys_are_alike(made):
    assert len({made.create("ci", [Scope.ADMIN])[1] for _ in range(20)}) == 20


@pytest.mark.parametrize("name", ["", "two words", "a\nb", "x" * 65, "ключ", "a)"])
def test_a_name_that_could_be_taken_for_more_is_refused(made, name):
    with pytest.raises(InvalidField, match="A name is"):
        made.create(name, [Scope.TRAIN])


def test_keys_are_listed_and_revoked_once(made):
    first, second = (made.create(name, [Scope.TRAIN])[0] for name in ("a", "b"))
    assert made.revoke(first.id).name == "a"
    assert [key.id for key in made.all()] == [first.id, second.id]
    assert [key.id for key in made.valid()] == [second.id]
    with pytest.raises(Conflict, match="already"):
        made.revoke(first.id)
    with pytest.raises(NotFound, match="no key zzz"):
        made.revoke("zzz")


def test_a_database_from_before_there_were_keys_goes_on(settings):
    before_revisions.make(settings.effective_database_url, without=["keys"])
    store = Store(settings.effective_database_url, migrate=True)
    assert KeyStore(store).all() == []
    assert store.jobs() == []
    store.close()


def test_the_ring_finds_what_is_valid(made, ring):
    key, whole = made.create("ci", [Scope.TRAIN])
    revoked, gone = made.create("old", [Scope.TRAIN])
    made.revoke(revoked.id)
    _, expired = made.create("old", [Scope.TRAIN], days=-1)
    ring.refresh()
    assert ring.find(whole.encode()).id == key.id
    assert ring.find(ADMIN_KEY.encode()).id == "admin"
    wrong = whole[:-1] + ("0" if whole[-1] != "0" else "1")
    swapped = whole.replace(key.id, revoked.id)
    for given in (
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
        assert ring.find(given.encode()) is None, given
    assert ring.find(b"\xff_\xff") is None


def test_a_key_that_ends_while_it_is_known_opens_nothing(made, ring, monkeypatch):
    key, whole = made.create("ci", [Scope.TRAIN], days=1)
    ring.refresh()
    assert ring.find(whole.encode())
    monkeypatch.setattr(keys, "now", lambda: key.expires_at)
    assert ring.find(whole.encode()) is None


def test_keys_are_compared_in_constant_time(made, ring, monkeypatch):
    _, whole = made.create("ci", [Scope.TRAIN])
    ring.refresh()
    compared = []

    def never(one, other):
        compared.append((one, other))
        return False

    monkeypatch.setattr(key_cache, "compare_digest", never)
    assert ring.find(whole.encode()) is None, "nothing else decides"
    assert len(compared) == 2
    assert compared[1][0] == compared[1][1] == keys.digest(whole.encode())


def test_without_a_first_key_there_is_none(made):
    ring = KeyCache(made, None)
    assert ring.find(b"") is None
    assert ring.find(b"None") is None


def test_a_pasted_key_is_the_first_one_all_the_same(made):
    _, whole = made.create("ci", [Scope.TRAIN])
    ring = KeyCache(made, whole)
    ring.refresh()
    assert ring.find(whole.encode()).scopes == ["admin"]


@pytest.mark.parametrize("scope", Scope)
def test_a_scope_holds_no_other_but_admin(made, scope):
    key, _ = made.create("ci", [scope])
    assert {each for each in Scope if keys.allows(key, each)} == (
        set(Scope) if scope is Scope.ADMIN else {scope}
    )
    assert keys.allows(key, None)


def test_the_ring_follows_the_database_and_outlives_it(made, ring, monkeypatch, caplog):
    monkeypatch.setattr(key_cache, "POLL_INTERVAL", 0.01)
    caplog.set_level(logging.INFO, "app.auth.key_cache")

    async def until(condition):
        async with asyncio.timeout(20):
            while not condition():
                await asyncio.sleep(0.01)

    async def follow():
        watching = asyncio.create_task(ring.watch())
        key, whole = await asyncio.to_thread(made.create, "ci", [Scope.TRAIN])
        await until(lambda: ring.find(whole.encode()))
        with monkeypatch.context() as away:
            away.setattr(made, "valid", lambda: (_ for _ in ()).throw(NotReady("gone")))
            await until(lambda: "keys cannot be read" in caplog.text)
            await asyncio.sleep(0.05)
            assert ring.find(whole.encode()), "what was known goes on"
        await asyncio.to_thread(made.revoke, key.id)
        await until(lambda: not ring.find(whole.encode()))
        watching.cancel()

    asyncio.run(follow())
    assert caplog.text.count("keys cannot be read") == 1
    assert "(ci) is known: train" in caplog.text
    assert "(ci) is known no more" in caplog.text


def test_finding_asks_no_database(made, ring, store, monkeypatch):
    _, whole = made.create("ci", [Scope.TRAIN])
    ring.refresh()
    with monkeypatch.context() as away:
        away.setattr(store, "engine", create_engine("sqlite:////nowhere/at/all.db"))
        made._read = made._write = None
        assert ring.find(whole.encode())
