"""Room for bad days: kept where there is some, given up once, and used to tell what went wrong."""

import errno
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event

from app.database.backup import BALLAST_BYTES, BallastFile
from app.database.database import Database
from app.database.jobs import JobStore
from app.database.leases import LeaseStore
from app.database.sqlite import DiskFull
from app.train.jobs import job as jobs
from app.train.jobs.fenced_writer import FencedWriter
from tests.database.test_store import add


@pytest.fixture
def reserve(tmp_path):
    return BallastFile(tmp_path / "mynet.db.reserve")


def test_it_is_kept_and_given_up_once(reserve):
    reserve.allocate()
    reserve.allocate()
    assert reserve.path.stat().st_size == BALLAST_BYTES
    assert (reserve.delete(), reserve.delete()) == (True, False)
    reserve.allocate()
    assert reserve.delete()


def test_where_there_is_no_room_there_is_none(reserve, monkeypatch, caplog):
    def full(self, _):
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    reserve.allocate()
    assert list(reserve.path.parent.iterdir()) == []
    assert "No space left on device" in caplog.text


@pytest.fixture
def full(settings, monkeypatch):
    """A database that may not grow until the reserve is given up."""
    with closing(Database(settings.effective_database_url)) as first:
        add(JobStore(first), "job")
        with first.engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    database, room = Database(settings.effective_database_url), {"pages": pages}
    database.ballast.allocate()

    @event.listens_for(database.engine, "begin")
    def limit(connection):
        connection.exec_driver_sql(f"PRAGMA max_page_count={room['pages']}")

    real = BallastFile.delete

    def delete(self):
        room["pages"] = 2**30
        return real(self)

    monkeypatch.setattr(BallastFile, "delete", delete)
    yield JobStore(database)
    database.close()


LARGE_EVENTS = [("batch", {"text": "x" * 100_000})]


def test_what_becomes_of_a_job_is_told_though_the_disk_is_full(full):
    assert full.change_job("job", values={"status": "failed"}, events=LARGE_EVENTS, vital=True)
    assert full.job("job").status == "failed"
    assert full.events("job")[-1].data == LARGE_EVENTS[0][1]
    assert not full.database.ballast.path.exists()


def fail(store):
    jobs.fail(store, "job", 0, "exception", "x" * 100_000)


def succeed(store):
    FencedWriter(store, "job", 0).succeed({"reason": "x" * 100_000, "promoted": False})


@pytest.mark.parametrize(("end", "status"), [(fail, "failed"), (succeed, "succeeded")])
def test_end_of_a_job_is_recorded_though_the_disk_is_full(full, end, status):
    full.change_job("job", values={"status": "running"})
    end(full)
    assert full.job("job").status == status


def test_without_a_reserve_it_is_refused_and_nothing_is_half_done(full):
    full.database.ballast = None
    with pytest.raises(DiskFull, match="database or disk is full"):
        full.change_job("job", values={"status": "failed"}, events=LARGE_EVENTS, vital=True)
    assert full.job("job").status == "queued"


def test_progress_does_not_use_it(full):
    with pytest.raises(DiskFull):
        full.change_job("job", values={"attempt": 2}, events=LARGE_EVENTS)
    assert full.database.ballast.path.exists()
    assert full.job("job").attempt == 0


def test_a_new_job_does_not_use_it(full):
    with pytest.raises(DiskFull):
        add(full, "new", hyperparameters={"note": "x" * 100_000})
    assert full.database.ballast.path.exists()
    assert full.job("new") is None


def test_the_lease_is_renewed_though_the_disk_is_full(full):
    leases = LeaseStore(full.database)
    assert leases.take("holder " + "x" * 100_000, 30)
    assert leases.holder().startswith("holder")
