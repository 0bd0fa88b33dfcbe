"""The supervisor's lease: one state folder, and several that share a database of either kind."""

import time
from datetime import timedelta

import pytest

from app.database import tables
from app.errors import NotReady
from app.train.supervisor import lease
from app.train.supervisor.lease import Lease
from tests.postgres import ALL_DATABASES

DATABASES = ALL_DATABASES


@pytest.fixture
def remote_lease(leases, tmp_path):
    """The lease of another state folder that shares the database."""
    (tmp_path / "remote").mkdir()
    return Lease(tmp_path / "remote", leases)


def test_a_lease_has_one_holder(settings, leases, remote_lease):
    local_lease = Lease(settings.state_dir, leases)
    assert local_lease.acquire()
    assert not Lease(settings.state_dir, leases).acquire(), "the lock of the state folder is taken"
    assert not remote_lease.acquire(), "the lease in the database is taken"
    local_lease.release()
    assert remote_lease.acquire()
    assert not local_lease.acquire()


def test_a_service_that_was_killed_goes_on_at_once(settings, leases):
    killed = Lease(settings.state_dir, leases)
    assert killed.acquire()
    killed._lock.release()
    assert Lease(settings.state_dir, leases).acquire(), (
        "the lease is in the state folder's own name"
    )


def test_a_lease_that_the_database_cannot_release_frees_the_state_folder(
    settings, leases, monkeypatch
):
    def fail(_):
        raise NotReady("disk I/O error")

    ending = Lease(settings.state_dir, leases)
    assert ending.acquire()
    with monkeypatch.context() as patch, pytest.raises(NotReady):
        patch.setattr(leases, "release", fail)
        ending.release()
    assert Lease(settings.state_dir, leases).acquire()


def test_a_lease_that_is_not_renewed_lapses(settings, leases, remote_lease, monkeypatch):
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.05)
    assert Lease(settings.state_dir, leases).acquire()
    assert not remote_lease.acquire()
    time.sleep(0.1)
    assert remote_lease.acquire()


@pytest.mark.parametrize("hours", [-5, 5])
def test_the_time_of_day_decides_nothing(settings, leases, remote_lease, monkeypatch, hours):
    local_lease = Lease(settings.state_dir, leases)
    assert local_lease.acquire()
    monkeypatch.setattr("app.database.leases.now", lambda: tables.now() + timedelta(hours=hours))
    assert not remote_lease.acquire(), "the holder lives"
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 3600 * hours)
    assert not remote_lease.acquire(), "nothing but the clock has moved"
    monkeypatch.setattr(lease, "RENEW_INTERVAL", 0.0)
    assert local_lease.acquire()
    monkeypatch.setattr(lease, "LEASE_SECONDS", 0.05)
    assert not remote_lease.acquire()
    time.sleep(0.1)
    assert remote_lease.acquire(), "the lease was not renewed"


def test_who_cannot_renew_says_so_in_time(settings, leases, monkeypatch):
    local_lease = Lease(settings.state_dir, leases)
    assert local_lease.may_have_lapsed()
    assert local_lease.acquire()
    assert not local_lease.may_have_lapsed()
    monkeypatch.setattr(lease, "SAFETY_MARGIN", lease.LEASE_SECONDS)
    assert local_lease.may_have_lapsed()
