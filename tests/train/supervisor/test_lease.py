"""Who supervises: of one state folder, and of several that share a database of either kind."""

import time
from datetime import timedelta

import pytest

from app.database import tables
from app.train.supervisor import lease
from app.train.supervisor.lease import Lease
from tests.postgres import BOTH

DATABASES = BOTH


@pytest.fixture
def elsewhere(store, tmp_path):
    """The lease of another state folder that shares the database."""
    (tmp_path / "elsewhere").mkdir()
    return Lease(tmp_path / "elsewhere", store)


def test_a_lease_has_one_holder(settings, store, elsewhere):
    here = Lease(settings.state_dir, store)
    assert here.acquire()
    assert not Lease(settings.state_dir, store).acquire(), "the lock of the state folder is taken"
    assert not elsewhere.hold(), "the lease in the database is taken"
    here.release()
    assert elsewhere.hold()
    assert not here.acquire()


def test_a_service_that_was_killed_goes_on_at_once(settings, store):
    killed = Lease(settings.state_dir, store)
    assert killed.acquire()
    killed._lock.release()
    assert Lease(settings.state_dir, store).acquire(), "the lease is in the state folder's own name"


def test_a_lease_that_is_not_renewed_lapses(settings, store, elsewhere, monkeypatch):
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.05)
    assert Lease(settings.state_dir, store).acquire()
    assert not elsewhere.hold()
    time.sleep(0.1)
    assert elsewhere.hold()


@pytest.mark.parametrize("hours", [-5, 5])
def test_the_time_of_day_decides_nothing(settings, store, elsewhere, monkeypatch, hours):
    here = Lease(settings.state_dir, store)
    assert here.acquire()
    monkeypatch.setattr("app.database.store.now", lambda: tables.now() + timedelta(hours=hours))
    assert not elsewhere.hold(), "the holder lives"
    monkeypatch.setattr(lease, "RENEW_INTERVAL", 0.0)
    assert here.acquire()
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.05)
    assert not elsewhere.hold()
    time.sleep(0.1)
    assert elsewhere.hold(), "nobody renewed it"


def test_who_cannot_renew_says_so_in_time(settings, store, monkeypatch):
    here = Lease(settings.state_dir, store)
    assert here.may_have_lapsed()
    assert here.acquire()
    assert not here.may_have_lapsed()
    monkeypatch.setattr(lease, "SAFETY_MARGIN", lease.LEASE_SECONDS)
    assert here.may_have_lapsed()
